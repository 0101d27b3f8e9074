"""The model beside the engine of ZeRO-3: whole, without a copy, and without waiting for other processes.

SLOW: tests/runs.py starts the two processes.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
import toy

from vilam.training.plain import PlainModel


@pytest.fixture(scope="module")
def measured(projects) -> list[dict[str, Any]]:
    """What each of two processes wrote (see sharded.py)."""
    return [json.loads((projects / "sharded" / f"{number}.json").read_text()) for number in range(2)]


def test_processes_that_hold_parts_answer_as_one_that_holds_all(measured):
    """Answers of different numbers and lengths in each process, before and after a step."""
    for each in measured:
        assert each["sharded"]["answers"] == each["whole"]["answers"]
    one, two = (each["sharded"]["answers"] for each in measured)
    assert (
        len(one) == 2 and len(two) == 8 and {len(text.split()) for text in one} != {len(text.split()) for text in two}
    )


def test_the_engine_goes_on_after_answers(measured):
    """With the same losses, and with a part of the weights in each process."""
    for each in measured:
        assert each["sharded"]["losses"] == pytest.approx(each["whole"]["losses"], rel=1e-5)
        assert each["sharded"]["held"] == [0, 0] and min(each["whole"]["held"]) > 0


def test_the_first_process_alone_gets_the_trained_weights(measured):
    first, second = measured
    assert first["sharded"]["sums"] == pytest.approx(first["whole"]["sums"], rel=1e-4, abs=1e-3)
    assert not any(second["sharded"]["sums"])


def test_weights_that_are_not_divided_are_the_networks_own():
    network = toy.model()
    plain = PlainModel(network, is_sharded=False)
    with plain.gathered() as gathered:
        assert gathered is network
    assert plain.trained() is network
