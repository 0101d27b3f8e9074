"""Settings: params.yaml is valid, the schema has every default, and every mistake is one line."""

from __future__ import annotations

import runpy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from dvc.utils.serialize import dump_yaml, load_yaml
from hypothesis import given
from hypothesis import strategies as st

from vilam.config import (
    PHASES,
    Settings,
    check_settings,
    complete,
    load_settings,
    parse_yaml,
    read_yaml,
    yaml_text,
)
from vilam.config.names import all_settings
from vilam.config.reading import RENAMED
from vilam.config.schema import TASK_NAMES, SharedOptimiserSettings
from vilam.errors import VilamError
from vilam.overrides import put
from vilam.tasks import ALL_TASKS
from vilam.tracking.runs import flatten

AWKWARD = [
    *(
        "no",
        "No",
        "off",
        "on",
        "y",
        "yes",
        "true",
        "null",
        "~",
        "12:30",
        "1:2:3",
        "1e-3",
        "1e3",
        "1.0e-3",
        "0o7",
        "010",
    ),
    *("0x1f", "1_000", "=", "<<", "", " a ", "a: b", "- a", "# a", "a #b", "[a", "{a", "*a", "&a", "!a", "%a", "@a"),
    *("2026-01-02", "é ü 图", "line\nbreak", "tab\t", "'", '"', "\\", "?", ":", "-", ".inf", ".nan", "1.", ".5", "+1"),
]
"""Texts that YAML 1.1 or 1.2 reads as other values if they have no quotes."""
PLAIN = [
    "no",
    "off",
    "on",
    "yes",
    "12:30",
    "1e-3",
    "1e3",
    "0o7",
    "010",
    "0x1f",
    "1_000",
    "2026-01-02",
    "~",
    "",
    "1.",
    "==",
]
"""Values that people may write without quotes."""


def leaves(content: Any) -> int:
    """The number of keys whose value is not a mapping."""
    return sum(map(leaves, content.values())) if isinstance(content, Mapping) else 1


def changed(project: Path, folder: Path, name: str, value: Any) -> Path:
    """params.yaml with one setting changed."""
    content = read_yaml(project / "params.yaml")
    *sections, last = name.split(".")
    inner = content
    for section in sections:
        inner = inner[section]
    inner[last] = value
    (folder / "params.yaml").write_text(yaml_text(content))
    return folder / "params.yaml"


def test_params_yaml_has_the_defaults_of_the_schema_and_at_most_80_keys(project: Path) -> None:
    assert load_settings(project / "params.yaml") == check_settings({}, "no file")
    assert leaves(read_yaml(project / "params.yaml")) <= 80


def test_every_setting_has_a_default_and_a_description() -> None:
    settings = list(all_settings())
    assert len(settings) == 137 and all(not setting.field.is_required() for setting in settings)
    assert not [one.name for one in settings if not 5 < len(one.description) <= 120 or one.description[-1] != "."]


def test_the_page_of_settings_is_up_to_date(project: Path) -> None:
    page = runpy.run_path(str(project / "scripts" / "settings_table.py"))["page"]()
    assert (project / "docs" / "settings.md").read_text(encoding="utf-8") == page, "run scripts/settings_table.py"
    assert all(f"| `{setting.name}` |" in page for setting in all_settings())


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("name", SharedOptimiserSettings.model_fields)
def test_a_phase_uses_shared_settings_unless_it_sets_them(phase: str, name: str) -> None:
    other = {"activate": "train", "train": "activate"}[phase]
    shared, own = {"precision": ("bf16", "fp32"), "gradient_checkpointing": (True, False)}.get(name, (0.5, 0.25))
    is_number = isinstance(SharedOptimiserSettings.model_fields[name].default, int | None)
    if is_number and name != "gradient_checkpointing":
        shared, own = 5, 7
    elif name == "deepspeed":
        shared, own = "a.json", "b.json"
    made = check_settings({"optimiser": {name: shared}}, "test").model_dump(mode="json")
    assert made["optimiser"][name] == made[phase][name] == made[other][name] == shared
    made = check_settings({"optimiser": {name: shared}, phase: {name: own}}, "test").model_dump(mode="json")
    assert (made[phase][name], made[other][name]) == (own, shared)


def test_a_run_logs_the_resolved_settings_of_each_phase() -> None:
    flat = flatten(check_settings({"optimiser": {"batch_size": 4}, "train": {"batch_size": 2}}, "test"))
    assert [flat[f"{name}.batch_size"] for name in ("optimiser", "activate", "train")] == ["4", "4", "2"]


def test_completing_settings_with_defaults_does_not_change_them() -> None:
    content = {"optimiser": {"batch_size": 4}, "train": {"batch_size": 2, "tasks": {"rec_box": 1}}}
    whole = complete(content, "test")
    assert check_settings(whole, "test") == check_settings(content, "test")
    assert whole["train"]["batch_size"] == 2 and "batch_size" not in whole["activate"]
    assert leaves(complete(whole, "test")) == leaves(whole) and complete(whole, "test") == whole


@pytest.mark.parametrize("tower", ["vision", "language"])
@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ({"checkpoint": "folder"}, ("folder", None, {})),
        ({"checkpoint": "folder", "model_type": None, "config": {}}, ("folder", None, {})),
        ({"model_type": "other"}, (None, "other", {})),
        ({"model_type": "other", "config": {"size": 1}}, (None, "other", {"size": 1})),
        ({"config": {"size": 1}}, (None, "DEFAULT", {"size": 1})),
        ({"frozen": True}, (None, "DEFAULT", "DEFAULT")),
    ],
)
def test_the_default_size_applies_only_to_the_default_model_type(
    tower: str, content: dict[str, Any], expected: tuple[Any, ...]
) -> None:
    default = getattr(Settings().model, tower)
    made = getattr(check_settings({"model": {tower: content}}, "test").model, tower)
    wanted = zip(expected, (default.checkpoint, default.model_type, default.config), strict=True)
    assert (made.checkpoint, made.model_type, made.config) == tuple(
        own if one == "DEFAULT" else one for one, own in wanted
    )


def test_the_schema_knows_every_task() -> None:
    assert tuple(ALL_TASKS) == TASK_NAMES


def test_the_warm_up_may_last_as_long_as_the_phase() -> None:
    assert check_settings({"train": {"steps": 20, "warmup_steps": 20}}, "made").train.warmup_steps == 20


@pytest.mark.parametrize(
    ("name", "value", "line"),
    [
        ("sead", 1, "sead: no such setting: check its spelling"),
        ("train.stepz", 1, "train.stepz: no such setting"),
        ("prepare.domain", "A chest", "prepare.domain: expected a sentence with its end, such as A chest. (found"),
        ("prepare.domain", "See [0, 1].", "prepare.domain: expected a sentence without square brackets"),
        ("prepare.absent_categories", -1, "prepare.absent_categories: Input should be greater than or equal to 0"),
        ("seed", 2**63, "seed: Input should be less than 9223372036854775808 (found 9223372036854775808)"),
        ("prepare.scenes.num_images", {}, "prepare.scenes.num_images: Dictionary should have at least 1 item"),
        ("train.steps", 0, "train.steps: Input should be greater than or equal to 1 (found 0)"),
        ("train.steps", "many", "train.steps: Input should be a valid integer"),
        ("train.steps", 10, "train: warmup_steps 20 is above steps 10: set it to fewer"),
        ("activate.warmup_steps", 201, "activate: warmup_steps 201 is above steps 200: set it to fewer"),
        ("train.learning_rate", float("nan"), "train.learning_rate: Input should be"),
        ("train.learning_rate", 1e-5, "train.final_learning_rate 2e-05 is above its learning_rate 1e-05: set both"),
        ("optimiser.learning_rate", 1e-3, "activate.final_learning_rate 0.002 is above its learning_rate 0.001: set"),
        ("optimiser.batch_size", 0, "optimiser.batch_size: Input should be greater than or equal to 1 (found 0)"),
        ("train.tasks", {"rec_box": 0}, "train: tasks: none has a weight above 0: name one, such as {rec_box: 3}"),
        ("train.tasks", {}, "train: tasks: none has a weight above 0"),
        ("train.tasks", {"rec_bx": 1}, "train.tasks: unknown rec_bx: choose from rec_box"),
        ("evaluate.tasks", ["rec_box", "x"], "evaluate.tasks: unknown x: choose from rec_box"),
        ("train.cycle.mode", "wheel", "train.cycle.mode: Input should be 'none'"),
        ("synthesize.samples", 0, "synthesize.samples: Input should be greater than or equal to 1 (found 0)"),
        ("synthesize.min_iou", 1.5, "synthesize.min_iou: Input should be less than or equal to 1 (found 1.5)"),
        ("synthesize.min_iou", 0, "synthesize.min_iou: Input should be greater than 0 (found 0)"),
        ("synthesize.temperature", -1, "synthesize.temperature: Input should be greater than or equal to 0"),
        ("synthesize.described_fraction", 2, "synthesize.described_fraction: Input should be less than or equal to 1"),
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
        ("model.fine_tune_from", "models:/vilam", "model.fine_tune_from: expected models:/NAME@ALIAS"),
        ("model.coordinate_bins", 12, "model: coordinate_bins - 1 must divide 1000"),
        ("model.vision.model_type", None, "model.vision: set one of checkpoint and model_type"),
    ],
)
def test_a_mistake_is_one_line(project: Path, tmp_path: Path, name: str, value: Any, line: str) -> None:
    path = changed(project, tmp_path, name, value)
    with pytest.raises(VilamError) as error:
        load_settings(path)
    assert f"{path}: {line}" in str(error.value)
    assert "\n" not in str(error.value) and ";" not in str(error.value)


def test_a_checkpoint_and_a_model_type_are_refused(project: Path, tmp_path: Path) -> None:
    content = read_yaml(project / "params.yaml")
    put(content, {"model.vision": {"checkpoint": "some/folder", "model_type": "vit"}}, "test")
    with pytest.raises(VilamError, match=r"test: model\.vision: set one of checkpoint and model_type, the other null"):
        check_settings(content, "test")


@pytest.mark.parametrize(("old", "new"), RENAMED.items())
def test_an_old_name_is_reported_with_the_new_one(project: Path, tmp_path: Path, old: str, new: str) -> None:
    assert new in {setting.name for setting in all_settings()}
    path = changed(project, tmp_path, old, 1)
    with pytest.raises(VilamError) as error:
        load_settings(path)
    assert str(error.value) == f"{path}: {old}: renamed to {new}"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("seed: [1", r"not readable as YAML: .* in line \d"),
        ("seed: 1\nseed: 2", "not readable as YAML: seed appears twice in line 2"),
        ("", "Input should be a valid dictionary"),
    ],
)
def test_a_broken_file_is_one_line(tmp_path: Path, text: str, line: str) -> None:
    (tmp_path / "params.yaml").write_text(text)
    with pytest.raises(VilamError, match=line) as error:
        load_settings(tmp_path / "params.yaml")
    assert "\n" not in str(error.value)


def test_a_missing_file_is_reported_with_the_folder_to_use(tmp_path: Path) -> None:
    with pytest.raises(VilamError, match="not found: run vilam in the project's folder"):
        load_settings(tmp_path / "params.yaml")


def same(first: Any, second: Any) -> bool:
    """Whether two values are equal and of the same types."""
    return repr(first) == repr(second)


def test_texts_survive_dvc_and_vilam(tmp_path: Path) -> None:
    path, content = tmp_path / "file.yaml", {"list": AWKWARD, "by_name": {text: text for text in AWKWARD}}
    dump_yaml(path, content)
    assert same(read_yaml(path), content) and same(load_yaml(path), content)
    path.write_text(yaml_text(content), encoding="utf-8")
    assert same(read_yaml(path), content) and same(load_yaml(path), content)


@pytest.mark.parametrize("text", PLAIN)
def test_values_without_quotes_are_read_as_by_dvc(text: str, tmp_path: Path) -> None:
    path = tmp_path / "file.yaml"
    path.write_text(f"a: {text}\n", encoding="utf-8")
    assert same(read_yaml(path), load_yaml(path))
    assert same(parse_yaml(text, "word"), read_yaml(path)["a"])


texts = st.text(st.characters(exclude_categories=["C", "Z"]) | st.sampled_from(" \n"), max_size=8)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**9), 10**9) | st.floats(allow_nan=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)


@given(content=st.dictionaries(texts, values, min_size=1, max_size=4))
def test_any_content_is_read_back_unchanged(content: dict[str, Any]) -> None:
    assert same(parse_yaml(yaml_text(content), "text"), content)
