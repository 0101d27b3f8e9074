"""`vilam use`: params.yaml gets the settings of the preset, and nothing else in it changes."""

from __future__ import annotations

from pathlib import Path

import pytest

from vilam.cli import app
from vilam.commands.use import use
from vilam.config import LoraSettings, complete, load_settings, read_yaml
from vilam.errors import VilamError
from vilam.overrides import settings_of

PROJECT = Path(__file__).parents[2]
PRESETS = sorted((PROJECT / "configs" / "models").glob("*.yaml"))


@pytest.fixture
def params(tmp_path: Path) -> Path:
    """A copy of the project's params.yaml."""
    path = tmp_path / "params.yaml"
    path.write_text((PROJECT / "params.yaml").read_text(encoding="utf-8"), encoding="utf-8")
    return path


def settings(path: Path) -> dict[str, object]:
    """All settings of a params.yaml by dotted name, with their defaults."""
    return settings_of(complete(read_yaml(path), path), "")


@pytest.mark.parametrize("preset", PRESETS, ids=lambda path: path.stem)
def test_settings_of_the_preset_are_written_and_others_unchanged(preset: Path, params: Path) -> None:
    wanted = read_yaml(preset)
    before = settings(params)
    changed = use(preset, params)
    after = settings(params)
    lora = wanted.get("model.language.lora")
    expected = {**before, **wanted}
    if lora is not None:
        expected["model.language.lora"] = LoraSettings.model_validate(lora).model_dump(mode="json")
    assert changed == [name for name in wanted if before.get(name) != wanted[name]] and changed
    assert after == expected


@pytest.mark.parametrize("preset", PRESETS, ids=lambda path: path.stem)
def test_shared_settings_of_the_preset_apply_to_both_phases(preset: Path, params: Path) -> None:
    use(preset, params)
    shared = [name.removeprefix("optimiser.") for name in read_yaml(preset) if name.startswith("optimiser.")]
    made = load_settings(params)
    for name in shared:
        assert getattr(made.activate, name) == getattr(made.train, name) == getattr(made.optimiser, name)


@pytest.mark.parametrize("preset", PRESETS, ids=lambda path: path.stem)
def test_comments_are_kept(preset: Path, params: Path) -> None:
    def comments() -> list[str]:
        lines = params.read_text(encoding="utf-8").splitlines()
        return [line.partition(" # ")[2] for line in lines if " # " in line]

    before = comments()
    use(preset, params)
    assert comments() == before and len(before) > 40


def test_using_a_preset_again_changes_nothing(params: Path) -> None:
    use(PRESETS[0], params)
    text, time = params.read_text(encoding="utf-8"), params.stat().st_mtime_ns
    assert use(PRESETS[0], params) == []
    assert (params.read_text(encoding="utf-8"), params.stat().st_mtime_ns) == (text, time)


def test_one_changed_value_changes_one_line(params: Path, tmp_path: Path) -> None:
    preset = tmp_path / "one.yaml"
    preset.write_text("train.steps: 70\n", encoding="utf-8")
    before = params.read_text(encoding="utf-8").splitlines()
    use(preset, params)
    after = params.read_text(encoding="utf-8").splitlines()
    assert [(a, b) for a, b in zip(before, after, strict=True) if a != b] == [("  steps: 2200", "  steps: 70")]


def test_a_setting_that_the_file_does_not_name_is_added_to_its_section(params: Path, tmp_path: Path) -> None:
    preset = tmp_path / "two.yaml"
    preset.write_text("evaluate.batch_size: 7\nprepare.shard_size: 3\nevaluate.threads: 2\n", encoding="utf-8")
    before = params.read_text(encoding="utf-8").splitlines()
    assert use(preset, params) == ["evaluate.batch_size", "prepare.shard_size", "evaluate.threads"]
    after = params.read_text(encoding="utf-8").splitlines()
    assert [line for line in after if line in before] == before
    assert settings(params)["evaluate.threads"] == 2


def test_a_default_value_is_no_change(params: Path, tmp_path: Path) -> None:
    preset = tmp_path / "one.yaml"
    preset.write_text("evaluate.batch_size: 64\n", encoding="utf-8")
    assert use(preset, params) == []


def test_a_section_merges_and_a_mapping_is_replaced(params: Path, tmp_path: Path) -> None:
    preset = tmp_path / "one.yaml"
    preset.write_text("train: {tasks: {rec_box: 1}}\nmodel.language.config.hidden_size: 64\n", encoding="utf-8")
    before = load_settings(params)
    assert use(preset, params) == ["train.tasks", "model.language.config.hidden_size"]
    after = load_settings(params)
    assert after.train.tasks == {"rec_box": 1} and after.train.cycle == before.train.cycle
    assert after.model.language.config == {**before.model.language.config, "hidden_size": 64}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("train.stepz: 7", "train.stepz: no such setting"),
        ("train.cycel.mode: none", "train.cycel.mode: no such setting"),
        ("train.cycle.retell: 1", "train.cycle.retell: renamed to train.cycle.self_training"),
        ("train.steps.all: 1", "train.steps.all: no such setting"),
        ("train.steps: none", "train.steps"),
        ("model.vision.cache: true", "cache keeps the features of a frozen tower"),
        ("[1, 2]", "expected settings by dotted name"),
        ("7: 8", "expected settings by dotted name"),
        ("", "expected settings by dotted name"),
        ("a: [", "not readable as YAML"),
        (None, "not found"),
    ],
)
def test_an_invalid_preset_is_one_line_and_changes_nothing(
    text: str | None, message: str, params: Path, tmp_path: Path
) -> None:
    preset = tmp_path / "preset.yaml"
    if text is not None:
        preset.write_text(text, encoding="utf-8")
    before = params.read_text(encoding="utf-8")
    with pytest.raises(VilamError, match=message) as error:
        use(preset, params)
    assert "\n" not in str(error.value) and str(preset) in str(error.value)
    assert params.read_text(encoding="utf-8") == before


def test_the_command_prints_what_it_changed(params: Path, capsys: pytest.CaptureFixture[str]) -> None:
    app(["use", str(PROJECT / "configs/models/small.yaml"), "--params", str(params)], standalone_mode=False)
    output = capsys.readouterr().out
    assert output.startswith(f"{params}: ") and " settings changed: model.image_size, " in output
    assert load_settings(params).model.vision.checkpoint == "package:dinov2-small"
