"""Questions and answers of data sets that are longer than a model reads."""

from __future__ import annotations

import logging

import pytest
import toy

from vilam.data.instructions import Instruction
from vilam.inference.lengths import position_limit
from vilam.inference.model import Model
from vilam.inference.unread import readable, without_unread


def instruction(number: int, question: str, answer: str) -> Instruction:
    record = toy.scenes()[0]
    region = record.regions[0].region_id
    return Instruction(f"{number}", "reg_caption", "train", record.image_id, region, question, answer, 0)


@pytest.fixture(scope="module")
def model() -> Model:
    return Model.for_data(toy.model(), toy.tokenizer(), toy.card())


def test_those_that_are_too_long_are_named_and_counted(model: Model, caplog: pytest.LogCaptureFixture) -> None:
    limit = position_limit(model)
    assert limit is not None
    records = {each.image_id: each for each in toy.scenes()}
    fits = [instruction(0, "What is it?", "a star"), instruction(1, "What is it?", "red " * (limit // 2))]
    long = [instruction(2, "What is " + "red " * limit, "a star"), instruction(3, "What is it?", "red " * limit)]
    kept, unread = readable(model, records, [*fits, *long])
    assert kept == fits and unread is not None
    assert (unread.count, unread.image_id, unread.limit) == (2, toy.scenes()[0].image_id, limit)
    assert limit < unread.tokens < 2 * limit
    with caplog.at_level(logging.WARNING):
        assert without_unread(model, records, fits, "train") == fits and not caplog.records
        assert without_unread(model, records, [*fits, *long], "train") == fits
    assert "train: questions too long with image and answer: 2, " in caplog.text
