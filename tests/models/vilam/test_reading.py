"""How the language model reads packed instructions is found by trying it."""

from __future__ import annotations

import pytest
import torch
from transformers import LlamaConfig, LlamaModel

from vilam.models.vilam import reading


def llama() -> LlamaModel:
    torch.manual_seed(0)
    shape = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 8, "num_attention_heads": 2}
    return LlamaModel(LlamaConfig(**shape, vocab_size=64, initializer_range=1.0)).eval()


@pytest.mark.parametrize(("difference", "expected"), [(1e-4, "mask"), (0.01, "fork")])
def test_what_the_rounding_of_a_deep_model_changes_is_no_difference(
    difference: float, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # This model rounds by 1e-4 of its states' deviation; SmolLM2, of 30 layers, by 3e-4.
    read = reading.read_packed

    def read_otherwise(*inputs: object) -> torch.Tensor:
        states = read(*inputs)
        return states + difference * states.std()

    monkeypatch.setattr(reading, "read_packed", read_otherwise)
    assert reading.find_sharing(llama(), torch.arange(7), 7) == expected
