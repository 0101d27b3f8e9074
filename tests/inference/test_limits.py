"""Which pictures a model refuses, beside the processors of transformers."""

from __future__ import annotations

from pathlib import Path

import hf_checkpoints
import pytest
import toy
from PIL import Image

from vilam.data.sanity import LONG
from vilam.errors import VilamError
from vilam.inference.limits import refuses_long
from vilam.models.coordinate_formats import Frame
from vilam.models.hf import folder as hf_folder


@pytest.mark.parametrize("name", list(hf_checkpoints.HF_CHECKPOINTS))
def test_the_processors_refuse_the_same_pictures(tmp_path: Path, name: str) -> None:
    hf_checkpoints.HF_CHECKPOINTS[name](tmp_path / "model")
    tokenizer, frame = hf_folder.open_tokenizer(str(tmp_path / "model")), Frame.filled(1000, 1000)
    tokenizer.process("Where?", Image.new("RGB", (2 * LONG, 2)), frame)
    for size in ((2 * LONG + 1, 2), (1, LONG + 1)):
        try:
            tokenizer.process("Where?", Image.new("RGB", size), frame)
            refused = False
        except VilamError:
            refused = True
        assert refused == refuses_long(toy.settings(model__checkpoint="model").model, tmp_path)


@pytest.mark.parametrize(
    ("name", "refuses"),
    [
        ("Qwen/Qwen2.5-VL-3B-Instruct", True),
        ("Qwen/Qwen3-VL-2B-Instruct", True),
        ("someone/qwen3-vl-8b-welds", True),
        ("google/paligemma2-3b-pt-448", False),
        ("Qwen/Qwen2.5-3B", False),
        ("nowhere/at-all", False),
    ],
)
def test_a_model_of_a_hub_is_known_by_its_name(tmp_path: Path, name: str, refuses: bool) -> None:
    assert refuses_long(toy.settings(model__checkpoint=name).model, tmp_path) == refuses


def test_a_folder_is_known_by_its_config_and_not_by_its_name(tmp_path: Path) -> None:
    for name, kind in (("welds", "qwen2_5_vl"), ("qwen2_5_vl", "llava")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(f'{{"model_type": "{kind}"}}')
        for setting in ("checkpoint", "fine_tune_from"):
            own = toy.settings(**{f"model__{setting}": name}).model
            assert refuses_long(own, tmp_path) == (kind == "qwen2_5_vl")


def test_a_composed_model_and_one_that_is_not_registered_refuse_nothing(tmp_path: Path) -> None:
    assert not refuses_long(toy.settings().model, tmp_path)
    assert not refuses_long(toy.settings(model__fine_tune_from="models:/vilam@champion").model, tmp_path)
