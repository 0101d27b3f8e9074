"""What a set must have for the settings of a project."""

from __future__ import annotations

from typing import Any

import pytest
import toy

from vilam.config import Settings
from vilam.data.records import Group, ImageRecord, Region
from vilam.data.rules import Kept, notes
from vilam.data.validation import Validator

BOX = (1.0, 1.0, 9.0, 9.0)
RING = ((1.0, 1.0), (9.0, 1.0), (9.0, 9.0))


def record(split: str, number: int, objects: int, content: bytes = b"", **parts: Any) -> ImageRecord:
    regions = tuple(Region(str(one), BOX, "cup", **parts) for one in range(objects))
    own = content or f"{split} {number}".encode()
    return ImageRecord(f"{split}{number}", split, own, 20, 20, "set", "CC0", (), regions)


def kept(objects: dict[str, list[int]], **parts: Any) -> Kept:
    """Of a set with these numbers of objects of the pictures of each split."""
    counted = Kept(tuple(objects))
    for split, counts in objects.items():
        for number, count in enumerate(counts):
            counted.add(record(split, number, count, **parts))
    return counted


def blocking(counted: Kept, **changes: Any) -> list[str]:
    validator = Validator((), {}, 0.05, "set", lambda line: None)
    found = list(notes(validator, counted, toy.settings(**changes), False))
    assert all(note.blocks for note in found)
    return [note.text for note in found]


GOOD = {"train": [2, 1], "val": [1], "test": [0, 2]}
SET_TEST = "set evaluate.splits: [test]"


@pytest.mark.parametrize(
    ("objects", "evaluated", "message"),
    [
        (GOOD, ["test"], None),
        (GOOD | {"val": [0]}, ["test"], None),
        (GOOD, ["tets"], f"evaluate.splits names tets, there are train, val, test: {SET_TEST}"),
        ({"train": [3]}, ["test"], "evaluate.splits names test, there are train: hold some pictures out"),
        (
            GOOD | {"testA": [1], "testB": [1, 0], "test": []},
            ["val"],
            "split test: no image in it: add some, or leave the split out",
        ),
        (
            {"train": [1], "val": [1], "testA": [1], "testB": [1, 0]},
            ["test"],
            "evaluate.splits names test, there are train, val, testA, testB: set evaluate.splits: [testA, testB]",
        ),
        (GOOD | {"val": []}, ["test"], "split val: no image in it: add some, or leave the split out"),
        (
            GOOD | {"test": [0]},
            ["test"],
            "no object in test: nothing can be evaluated there: set evaluate.splits: [val]",
        ),
        (
            GOOD | {"val": [0, 0]},
            ["val", "test"],
            f"no object in val: nothing can be evaluated there: {SET_TEST}",
        ),
        (GOOD, ["train", "test"], f"evaluate.splits names train, which is trained on: {SET_TEST}"),
        (GOOD | {"fold 1": [1]}, ["test"], "split 'fold 1': rename it, with letters, digits and _ only"),
        (
            {split: [0, 0] for split in GOOD},
            ["test"],
            "no picture has an object: are the annotations in the folder, under the names of the pictures?",
        ),
        (
            GOOD | {"train": [0]},
            ["test"],
            "no object in train: nothing can be trained on: add some, or name a trained model in evaluate.model",
        ),
    ],
)
def test_splits(objects: dict[str, list[int]], evaluated: list[str], message: str | None) -> None:
    assert blocking(kept(objects), evaluate__splits=evaluated) == ([] if message is None else [message])


@pytest.mark.parametrize("objects", [{"test": [1]}, {"train": [0], "test": [1]}])
def test_a_set_that_another_model_is_evaluated_on_needs_no_train(objects: dict[str, list[int]]) -> None:
    assert blocking(kept(objects)) and not blocking(kept(objects), evaluate__model="models/train")
    assert not blocking(kept({"train": [1]}), evaluate__model="models/train", evaluate__splits=["train"])


@pytest.mark.parametrize(
    ("task", "parts"),
    [
        ("rec_mask", {"polygons": (RING,)}),
        ("rec_keypoints", {"keypoints": ((2.0, 2.0, 2), (0.0, 0.0, 0))}),
        ("rec_box", {}),
    ],
)
def test_there_is_something_to_ask_each_task_about(task: str, parts: dict[str, Any]) -> None:
    only = {"train__tasks": {task: 1, "presence": 1, "reg_class": 0}, "evaluate__tasks": [task, "rec_every"]}
    assert blocking(kept(GOOD, **parts), **only) == []
    if parts:
        unlabelled = {"keypoints": ((0.0, 0.0, 0), (0.0, 0.0, 0))}
        assert blocking(kept(GOOD, **unlabelled), **only) == [
            f"nothing in train to ask {task}, presence about: set train.tasks to others",
            f"nothing in test to ask {task}, rec_every about: nothing can be evaluated there: hold some pictures out",
        ]


def test_groups_alone_can_be_evaluated_but_not_trained_on() -> None:
    counted = kept({"train": [1], "val": [0], "test": []})
    group = Group("none", "a cup", (), "phrase", "human")
    one = record("test", 0, 0)
    counted.add(ImageRecord("a", "test", one.image, 20, 20, "set", "CC0", (), (), (group,)))
    assert blocking(counted) == []
    assert blocking(counted, evaluate__tasks=["rec_box"])


def test_a_test_split_that_is_in_train_too() -> None:
    shared = Kept(("train", "test", "more"))
    for split, content in (("train", b"a"), ("train", b"b"), ("test", b"a"), ("test", b"b"), ("more", b"c")):
        shared.add(record(split, 0, 1, content))
    assert blocking(shared) == ["every picture of test is in train too: hold other pictures out"]
    assert blocking(shared, evaluate__splits=["test", "more"]) == []
    assert blocking(shared, evaluate__model="models/train") == []


@pytest.mark.parametrize(
    ("objects", "changes", "later"),
    [
        ({"test": [1]}, {}, True),
        (GOOD, {"evaluate__splits": ["testA"]}, True),
        (GOOD, {"evaluate__splits": ["train"]}, True),
        (GOOD, {"evaluate__tasks": ["rec_mask"]}, True),
        (GOOD, {"train__tasks": {"rec_mask": 1}}, True),
        ({"train": [0], "test": [0]}, {}, False),
        (GOOD | {"val": []}, {}, False),
    ],
)
def test_what_only_training_and_evaluation_need_can_be_prepared(
    objects: dict[str, list[int]], changes: dict[str, Any], later: bool
) -> None:
    validator = Validator((), {}, 0.05, "set", lambda line: None)
    (note,) = notes(validator, kept(objects), toy.settings(**changes), False)
    assert note.blocks and note.later == later


def test_what_blocks_is_first() -> None:
    validator = Validator(("cup", "mug"), {}, 0.05, "set", lambda line: None)
    validator.statistics.long.append("a")
    found = list(notes(validator, kept(GOOD), toy.settings(evaluate__splits=["no"]), False))
    assert [note.blocks for note in found] == [True, False]
    assert next(notes(validator, kept(GOOD), Settings(), True)).blocks
