"""Instructions as Parquet files."""

import errno
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from vilam.data.instructions import MANIFEST, Instruction, read_counts, read_instructions, write_instructions
from vilam.errors import VilamError

ADDED = ("expression_model", "expression_confidence", "expression_round_trip_iou")


def _instruction(number: int, split: str = "train", task: str = "rec_box") -> Instruction:
    expression = f"the dog – n° {number}"
    return Instruction(
        f"{task}:{number}", task, split, f"image{number // 3}", str(number), f"Where is {expression}?",
        "[1, 2, 3, 4]", 5, expression, "position", "rule",
    )  # fmt: skip


def test_instructions_are_read_in_the_order_written(tmp_path):
    train = [_instruction(number, task=("rec_box", "reg_class")[number % 2]) for number in range(9)]
    test = [_instruction(number, "test") for number in range(2)]
    counts = write_instructions(tmp_path / "out", [*train, *test])
    assert counts == {"train": {"rec_box": 5, "reg_class": 4}, "test": {"rec_box": 2}}
    assert read_counts(tmp_path / "out") == counts
    assert list(read_instructions(tmp_path / "out", "train")) == train
    assert list(read_instructions(tmp_path / "out", "test")) == test
    assert list(read_instructions(tmp_path / "out", "train", tasks={"reg_class"})) == train[1::2]
    assert pd.read_parquet(tmp_path / "out" / "test.parquet")["template"].tolist() == [5, 5]


def test_provenance_of_expressions_is_kept(tmp_path):
    plain = _instruction(1)
    generated = replace(
        _instruction(2),
        expression_source="model",
        expression_model="models:/vilam/3",
        expression_confidence=0.25,
        expression_round_trip_iou=0.75,
    )
    write_instructions(tmp_path / "out", [plain, generated])
    assert list(read_instructions(tmp_path / "out", "train")) == [plain, generated]
    assert plain.expression_confidence is None
    table = pd.read_parquet(tmp_path / "out" / "train.parquet")
    assert table["expression_round_trip_iou"].isna().tolist() == [True, False]


def test_files_without_provenance_columns_are_read(tmp_path):
    write_instructions(tmp_path / "out", [_instruction(1)])
    path = tmp_path / "out" / "train.parquet"
    table = pd.read_parquet(path)
    table[[name for name in table.columns if name not in ADDED]].to_parquet(path)
    assert list(read_instructions(tmp_path / "out", "train")) == [_instruction(1)]


def test_writing_again_replaces_the_folder_and_leaves_nothing_beside(tmp_path):
    write_instructions(tmp_path / "out", [_instruction(1), _instruction(2, "val")])
    write_instructions(tmp_path / "out", [_instruction(3)])
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [MANIFEST, "train.parquet"]


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), RuntimeError("stopped")])
def test_failed_writing_keeps_the_old_folder(tmp_path, error):
    write_instructions(tmp_path / "out", [_instruction(1)])

    def broken():
        yield _instruction(2)
        raise error

    with pytest.raises(VilamError if isinstance(error, OSError) else RuntimeError) as caught:
        write_instructions(tmp_path / "out", broken())
    assert isinstance(error, RuntimeError) or "No space left on device" in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert list(read_instructions(tmp_path / "out", "train")) == [_instruction(1)]


def _remove(folder: Path) -> None:
    (folder / MANIFEST).unlink()


def _spoil_manifest(folder: Path) -> None:
    (folder / MANIFEST).write_text("{", encoding="utf-8")


def _truncate(folder: Path) -> None:
    path = folder / "train.parquet"
    path.write_bytes(path.read_bytes()[:-20])


def _delete(folder: Path) -> None:
    (folder / "train.parquet").unlink()


@pytest.mark.parametrize("damage", [_remove, _spoil_manifest, _truncate, _delete])
def test_an_incomplete_folder_is_reported_in_one_line(tmp_path, damage):
    write_instructions(tmp_path, [_instruction(1)])
    damage(tmp_path)
    with pytest.raises(VilamError, match="run synthesize") as caught:
        list(read_instructions(tmp_path, "train"))
    assert str(tmp_path) in str(caught.value) and "\n" not in str(caught.value)


def test_an_unknown_split_is_reported_with_the_known_ones(tmp_path):
    write_instructions(tmp_path, [_instruction(1)])
    with pytest.raises(VilamError, match=r"'tset'.*train"):
        list(read_instructions(tmp_path, "tset"))


def test_instructions_are_recovered_if_their_replacement_was_killed(tmp_path):
    write_instructions(tmp_path / "out", [_instruction(1)])
    (tmp_path / "out").rename(tmp_path / ".out.old")
    assert list(read_instructions(tmp_path / "out", "train")) == [_instruction(1)]
