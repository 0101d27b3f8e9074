"""What of a project an experiment finds in the project, and what in the copy in which DVC runs it."""

from __future__ import annotations

from pathlib import Path

import pytest

from vilam.layout import Layout, named, project


@pytest.mark.parametrize("copy", [".dvc/tmp/exps/tmp1", ".dvc/tmp/exps/standalone/tmp2", ".dvc/tmp/exps/tmp3/part"])
def test_a_copy_knows_its_project(tmp_path: Path, copy: str) -> None:
    root = tmp_path / copy
    assert project(root) == tmp_path
    assert Layout(root).runs == tmp_path / "mlruns"
    assert Layout(root).checkpoints("train", "a") == tmp_path / "checkpoints" / "train" / "a"
    assert Layout(root).records == root / "data" / "records"


@pytest.mark.parametrize("folder", ["", "exps/tmp1", "tmp/exps/a", ".dvc/tmp/exps"])
def test_any_other_folder_is_a_project(tmp_path: Path, folder: str) -> None:
    assert project(tmp_path / folder) == tmp_path / folder


def test_settings_of_a_copy_name_folders_of_the_project(tmp_path: Path) -> None:
    copy = tmp_path / ".dvc" / "tmp" / "exps" / "tmp1"
    (copy / "models" / "train").mkdir(parents=True)
    (copy / "own.yaml").touch()
    assert named(copy, "models/train") == tmp_path / "models" / "train"
    assert named(copy, "new.yaml") == tmp_path / "new.yaml"
    assert named(copy, "own.yaml") == Path("own.yaml")
    assert named(copy, "/cells") == Path("/cells")
    assert named(tmp_path, "cells") == Path("cells")
