"""params.yaml: the project's own is whole, and every mistake in one is a line that names it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from vilam.config import load_settings
from vilam.errors import VilamError


def changed(project: Path, folder: Path, name: str, value: Any) -> Path:
    """params.yaml with one setting changed."""
    content = yaml.safe_load((project / "params.yaml").read_text())
    *sections, last = name.split(".")
    inner = content
    for section in sections:
        inner = inner[section]
    inner[last] = value
    (folder / "params.yaml").write_text(yaml.safe_dump(content))
    return folder / "params.yaml"


def test_the_projects_own_settings_are_whole(project: Path) -> None:
    assert load_settings(project / "params.yaml").train.steps > 0


@pytest.mark.parametrize(
    ("name", "value", "line"),
    [
        ("sead", 1, "sead: no such setting: check its spelling"),
        ("train.stepz", 1, "train.stepz: no such setting"),
        ("prepare.domain", "A chest", "prepare.domain: expected a sentence with its end, such as A chest. (found"),
        ("prepare.domain", "See [0, 1].", "prepare.domain: expected a sentence without square brackets"),
        ("prepare.absent_categories", -1, "prepare.absent_categories: Input should be greater than or equal to 0"),
        ("train.steps", 0, "train.steps: Input should be greater than or equal to 1 (found 0)"),
        ("train.steps", "many", "train.steps: Input should be a valid integer"),
        ("train.learning_rate", float("nan"), "train.learning_rate: Input should be"),
        ("train.cycle.mode", "wheel", "train.cycle.mode: Input should be 'none'"),
        ("synthesize.samples", 0, "synthesize.samples: Input should be greater than or equal to 1 (found 0)"),
        ("synthesize.min_iou", 1.5, "synthesize.min_iou: Input should be less than or equal to 1 (found 1.5)"),
        ("synthesize.min_iou", 0, "synthesize.min_iou: Input should be greater than 0 (found 0)"),
        ("synthesize.temperature", -1, "synthesize.temperature: Input should be greater than or equal to 0"),
        ("synthesize.described_share", 2, "synthesize.described_share: Input should be less than or equal to 1"),
        ("synthesize.teacher", "models:/vilam", "synthesize.teacher: expected models:/NAME@ALIAS, models:/NAME/VER"),
        ("synthesize.teacher", "models:/vilam/first", "synthesize.teacher: expected models:/NAME@ALIAS"),
        ("synthesize.teacher", "", "synthesize.teacher: expected models:/NAME@ALIAS"),
        ("synthesize.teacher", 3, "synthesize.teacher: Input should be a valid string (found 3)"),
        (
            "evaluate.model",
            "models:/vilam",
            "evaluate.model: expected models:/NAME@ALIAS, models:/NAME/VERSION, a model",
        ),
        ("evaluate.splits", ["test", "test"], "evaluate.splits: expected each name once"),
        ("evaluate.splits", [], "evaluate.splits: Tuple should have at least 1 item"),
        ("evaluate.protocol", "kind", "evaluate.protocol: Input should be 'strict' or 'vilam-oracle' (found 'kind')"),
        ("register.primary", "rec_box_oracle/acc_0.5", "register: rec_box_oracle/acc_0.5 is chosen by the truth"),
        ("prepare.source", "voc", "prepare: source voc reads files: set prepare.root"),
        ("model.start", "models:/vilam", "model.start: expected models:/NAME@ALIAS"),
        ("model.coordinate_bins", 12, "model: coordinate_bins - 1 must divide 1000"),
        ("model.vision.checkpoint", "some/folder", "model.vision: set one of checkpoint and model_type"),
    ],
)
def test_a_mistake_is_one_line(project: Path, tmp_path: Path, name: str, value: Any, line: str) -> None:
    path = changed(project, tmp_path, name, value)
    with pytest.raises(VilamError) as told:
        load_settings(path)
    assert f"{path}: {line}" in str(told.value)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("text", "line"), [("seed: [1", "not readable as YAML"), ("", "Input should be a valid dictionary")]
)
def test_a_broken_file_is_one_line(tmp_path: Path, text: str, line: str) -> None:
    (tmp_path / "params.yaml").write_text(text)
    with pytest.raises(VilamError, match=line) as told:
        load_settings(tmp_path / "params.yaml")
    assert "\n" not in str(told.value)


def test_a_missing_file_says_where_to_run(tmp_path: Path) -> None:
    with pytest.raises(VilamError, match="not found: run vilam in the project's folder"):
        load_settings(tmp_path / "params.yaml")
