"""The questions of an evaluation and their answers."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import cast

import pytest
import toy

from vilam.data.instructions import Instruction
from vilam.data.store import RecordStore
from vilam.evaluation.predictions import prediction_rows
from vilam.evaluation.protocol import Answerer
from vilam.inference.model import Model


def test_a_question_that_the_model_cannot_read_is_counted_as_wrong(caplog: pytest.LogCaptureFixture) -> None:
    records = {record.image_id: record for record in toy.scenes()}
    record = toy.scenes()[0]
    short = Instruction(
        "0", "rec_box", "test", record.image_id, record.regions[0].region_id, "Where?", "[1, 1, 2, 2]", 0
    )
    long = replace(short, instruction_id="1", question="Where is the " + "red " * 5000 + "ring?")
    model = Model.for_data(toy.model(), toy.tokenizer(), toy.card())
    answerer = Answerer(model, cast(RecordStore, records), batch_size=4)
    with caplog.at_level(logging.WARNING):
        found = answerer.predict([long, short], "evaluate")
    assert [each.instruction for each in found] == [long, short]
    assert found[1] == answerer.predict([short], "evaluate")[0]
    wrong, read = prediction_rows(found, records, toy.card(), {})
    assert (wrong["invalid"], wrong["iou"], wrong["answer"]) == (True, 0.0, "")
    assert not read["invalid"]
    assert "questions too long with image and answer: 1, " in caplog.text and "counted as wrong" in caplog.text
