"""Presets: their settings are in params.yaml afterwards, and nothing else of it has changed."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from vilam.cli import app
from vilam.config import load_settings
from vilam.errors import VilamError
from vilam.presets import use

PROJECT = Path(__file__).parents[1]
PRESETS = sorted((PROJECT / "configs" / "models").glob("*.yaml"))


@pytest.fixture
def params(tmp_path: Path) -> Path:
    """A copy of the project's params.yaml."""
    path = tmp_path / "params.yaml"
    path.write_text((PROJECT / "params.yaml").read_text(encoding="utf-8"), encoding="utf-8")
    return path


def flat(content: dict[str, object], names: set[str], before: str = "") -> dict[str, object]:
    """Settings by dotted name; of those in ``names`` what is inside is one value."""
    settings: dict[str, object] = {}
    for key, value in content.items():
        name = before + key
        inner = flat(value, names, name + ".") if isinstance(value, dict) and name not in names else {name: value}
        settings.update(inner)
    return settings


def read(path: Path, names: set[str]) -> dict[str, object]:
    return flat(yaml.safe_load(path.read_text(encoding="utf-8")), names)


@pytest.mark.parametrize("preset", PRESETS, ids=lambda path: path.stem)
def test_its_settings_are_there_and_the_others_as_they_were(preset: Path, params: Path) -> None:
    wanted = yaml.safe_load(preset.read_text(encoding="utf-8"))
    before = read(params, set(wanted))
    changed = use(preset, params)
    after = read(params, set(wanted))
    load_settings(params)
    assert {name: after[name] for name in wanted} == wanted
    assert changed == [name for name in wanted if before[name] != wanted[name]] and changed
    assert {name: after[name] for name in before.keys() - wanted.keys()} == {
        name: before[name] for name in before.keys() - wanted.keys()
    }


@pytest.mark.parametrize("preset", PRESETS, ids=lambda path: path.stem)
def test_the_comments_stay(preset: Path, params: Path) -> None:
    def comments() -> list[str]:
        lines = params.read_text(encoding="utf-8").splitlines()
        return [line.partition(" # ")[2] for line in lines if " # " in line]

    before = comments()
    use(preset, params)
    assert comments() == before and len(before) > 50


def test_once_more_changes_nothing(params: Path) -> None:
    use(PRESETS[0], params)
    text, time = params.read_text(encoding="utf-8"), params.stat().st_mtime_ns
    assert use(PRESETS[0], params) == []
    assert (params.read_text(encoding="utf-8"), params.stat().st_mtime_ns) == (text, time)


def test_a_value_that_changes_nothing_else_leaves_every_other_line(params: Path, tmp_path: Path) -> None:
    preset = tmp_path / "one.yaml"
    preset.write_text("train.steps: 7\n", encoding="utf-8")
    before = params.read_text(encoding="utf-8").splitlines()
    use(preset, params)
    after = params.read_text(encoding="utf-8").splitlines()
    assert [(a, b) for a, b in zip(before, after, strict=True) if a != b] == [("  steps: 2200", "  steps: 7")]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("train.stepz: 7", "train.stepz: no such setting"),
        ("train.cycel.mode: none", "train.cycel.mode: no such setting"),
        ("train.steps: none", "train.steps"),
        ("model.vision.cache: true", "cache keeps the features of a frozen tower"),
        ("[1, 2]", "expected settings by dotted name"),
        ("7: 8", "expected settings by dotted name"),
        ("", "expected settings by dotted name"),
        ("a: [", "not readable as YAML"),
        (None, "not found"),
    ],
)
def test_a_wrong_preset_is_one_line_and_changes_nothing(
    text: str | None, words: str, params: Path, tmp_path: Path
) -> None:
    preset = tmp_path / "preset.yaml"
    if text is not None:
        preset.write_text(text, encoding="utf-8")
    before = params.read_text(encoding="utf-8")
    with pytest.raises(VilamError, match=words) as error:
        use(preset, params)
    assert "\n" not in str(error.value) and str(preset) in str(error.value)
    assert params.read_text(encoding="utf-8") == before


def test_the_command_says_what_it_changed(params: Path, capsys: pytest.CaptureFixture[str]) -> None:
    app(["use", str(PROJECT / "configs/models/small.yaml"), "--params", str(params)], standalone_mode=False)
    said = capsys.readouterr().out
    assert said.startswith(f"{params}: ") and " settings changed: model.image_size, " in said
    assert load_settings(params).model.vision.checkpoint == "package:dinov2-small"
