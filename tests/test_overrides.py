"""Overrides: `dvc exp run -S`, the words of the flow and Prefect's form have the same result for every setting."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from dvc.utils.hydra import apply_overrides

from flows.form import schema
from flows.overrides import assignments, check, parsed
from vilam.config import Settings, check_settings, load_settings, read_yaml
from vilam.config.names import all_settings, as_yaml, holds_mapping
from vilam.errors import VilamError
from vilam.overrides import get, override, put, settings_of

FORM = schema()
BESIDE: dict[str, dict[str, Any]] = {
    "prepare.source": {"prepare.root": "folder"},
    "model.vision.cache": {"model.vision.frozen": True},
    "model.language.lora": {"model.language.frozen": True},
    "model.aligner": {"model.grounder": False},
    "model.max_pixels": {"model.checkpoint": "some/model"},
    "model.min_pixels": {"model.checkpoint": "some/model"},
    "model.coordinates": {"model.grounder": False},
    "train.cycle.mode": {"train.cycle.samples": 5},
}
"""Other settings that must change together with a setting."""
VALUES: dict[str, Any] = {
    "prepare.source": "voc",
    "prepare.domain": 'He said: "No, 12:30." It is ${x}.',
    "synthesize.teacher": "models:/vilam@champion",
    "model.fine_tune_from": "models:/vilam/3",
    "model.coordinate_bins": 51,
    "model.vision.config": {"hidden_sizes": [8, 16], "strides": [2, 2], "stem_stride": 3},
    "model.language.config": {"hidden_size": 32, "rope_parameters": {"rope_theta": 1e-3, "kind": "no"}},
    "model.language.lora": {"rank": 4, "targets": ["q_proj"]},
    "optimiser.learning_rate": 0.5,
    "activate.final_learning_rate": 1e-3,
    "train.final_learning_rate": 1e-3,
    "train.tasks": {"presence": 1, "rec_box": 2.5},
    "prepare.scenes.num_images": {"train": 10, "unseen": 5},
    "register.guards": {"rec_box/miou": 0.1, "reg_class/accuracy": 0},
    "evaluate.tasks": ["rec_box", "presence"],
    "evaluate.model": "models/train",
    "evaluate.zero_shot": "models/train",
}
"""Valid values that do not follow from the schema alone."""


def another(name: str, node: dict[str, Any]) -> Any:
    """A valid value of a setting that is not its default."""
    if name in VALUES:
        return VALUES[name]
    default = get(Settings().model_dump(mode="json", by_alias=True), name.split("."))
    choices = node.get("anyOf", [node])
    for choice in choices:
        if "enum" in choice:
            return next(value for value in choice["enum"] if value != default)
        match choice["type"]:
            case "integer":
                return (default or 0) + 3
            case "number":
                return 0.125 if default != 0.125 else 0.25
            case "string":
                return "no"  # which YAML 1.1 reads as false
            case "array":
                return [7] if choice["items"]["type"] == "integer" else ["no", "12:30"]
    raise AssertionError(name)


def cases() -> Iterator[tuple[str, dict[str, Any]]]:
    """Every setting by name, with changed values of it and of those that must change with it."""
    for setting in all_settings():
        node = FORM
        for part in setting.name.split("."):
            node = node["properties"][part]
        yield setting.name, {**BESIDE.get(setting.name, {}), setting.name: another(setting.name, node)}


CASES = dict(cases())


def nested(overrides: dict[str, Any]) -> dict[str, Any]:
    """The overrides in the form that Prefect sends."""
    content: dict[str, Any] = {}
    put(content, overrides, "test", {})
    return json.loads(json.dumps(content))  # type: ignore[no-any-return]


@pytest.fixture
def root(project: Path, tmp_path: Path) -> Path:
    """A folder with the project's own params.yaml."""
    (tmp_path / "params.yaml").write_text((project / "params.yaml").read_text(encoding="utf-8"), encoding="utf-8")
    return tmp_path


def by_dvc(root: Path, words: list[str]) -> Settings:
    """The settings after `dvc exp run -S`, by DVC's own code."""
    apply_overrides(root / "params.yaml", words)
    return load_settings(root / "params.yaml")


@pytest.mark.parametrize(("name", "overrides"), CASES.items(), ids=CASES)
def test_dvc_words_and_form_give_the_same_settings(name: str, overrides: dict[str, Any], root: Path) -> None:
    form = nested(overrides)
    jsonschema.validate(form, FORM)
    words = parsed([f"{key}={json.dumps(value)}" for key, value in overrides.items()], root)
    expected = check(form, root)
    assert words == form and check(words, root) == expected
    assert by_dvc(root, list(assignments(form))) == expected
    assert expected != Settings()
    found = get(expected.model_dump(mode="json", by_alias=True), name.split("."))
    assert found == overrides[name] or found == {**found, **overrides[name]}  # lora also has its defaults


def test_every_mapping_has_a_case() -> None:
    assert not [one.name for one in all_settings() if holds_mapping(one.field) and one.name not in VALUES]


QUOTED = {"prepare.domain", *(one.name for one in all_settings() if holds_mapping(one.field))}
"""Settings whose values need quotes in a shell."""


@pytest.mark.parametrize("name", sorted(CASES.keys() - QUOTED))
def test_a_plain_override_of_dvc_gives_the_same_settings(name: str, root: Path) -> None:
    expected = check(nested(CASES[name]), root)
    assert by_dvc(root, [f"++{key}={as_yaml(value)}" for key, value in CASES[name].items()]) == expected


@pytest.mark.parametrize(
    "words",
    [
        ["train.tasks=null", "train.tasks={rec_box: 3, presence: 1}"],
        ["~train.tasks", "+train.tasks={rec_box: 3, presence: 1}"],
        ["++train.tasks=null", "++train.tasks={rec_box: 3, presence: 1}"],
    ],
)
def test_dvc_replaces_a_mapping_that_is_removed_first(words: list[str], root: Path) -> None:
    assert by_dvc(root, words).train.tasks == {"rec_box": 3, "presence": 1}


def test_dvc_alone_merges_a_mapping(root: Path) -> None:
    assert "rec_mask" in by_dvc(root, ["train.tasks={rec_box: 3}"]).train.tasks


def test_one_entry_of_a_mapping_is_added_by_words_and_by_dvc(root: Path) -> None:
    words = parsed(["train.tasks.presence=1", "train.tasks.rec_mask=0"], root)
    assert words == {"train": {"tasks": {**Settings().train.tasks, "presence": 1, "rec_mask": 0}}}
    expected = check(words, root)
    assert by_dvc(root, ["+train.tasks.presence=1", "train.tasks.rec_mask=0"]) == expected


def test_an_entry_is_added_to_the_defaults_of_a_mapping_that_the_file_does_not_name(root: Path) -> None:
    content = read_yaml(root / "params.yaml")
    del content["train"]["tasks"]
    put(content, {"train.tasks.presence": 1}, "test")
    assert content["train"]["tasks"] == {**Settings().train.tasks, "presence": 1}


def test_a_value_inside_a_null_setting_creates_it(root: Path) -> None:
    words = parsed(["model.language.lora.rank=4", "model.language.frozen=true"], root)
    expected = check(words, root)
    assert expected.model.language.lora and expected.model.language.lora.rank == 4
    assert by_dvc(root, ["++model.language.lora.rank=4", "model.language.frozen=true"]) == expected


def test_a_checkpoint_alone_is_enough(root: Path) -> None:
    made = by_dvc(root, ["model.vision.checkpoint=package:dinov2-small"])
    assert made == check({"model": {"vision": {"checkpoint": "package:dinov2-small"}}}, root)
    assert (made.model.vision.checkpoint, made.model.vision.model_type) == ("package:dinov2-small", None)


def test_an_empty_mapping_is_not_dropped(root: Path) -> None:
    assert list(assignments({"model": {"vision": {"config": {}}}})) == [
        "++model.vision.config=null",
        "++model.vision.config={}",
    ]
    assert by_dvc(root, ["++model.vision.config=null", "++model.vision.config={}"]).model.vision.config == {}
    with pytest.raises(VilamError, match="tasks: none has a weight above 0"):
        check({"train": {"tasks": {}}}, root)


@pytest.mark.parametrize("overrides", [{}, {"train": {}}, {"train": {"cycle": {}}}])
def test_an_untouched_form_overrides_nothing(overrides: dict[str, Any], root: Path) -> None:
    jsonschema.validate(overrides, FORM)
    assert not list(assignments(overrides))
    assert check(overrides, root) == Settings()


@pytest.mark.parametrize(
    "text",
    [
        *(
            'a"b',
            "a\\",
            '\\"',
            "'",
            "${x}",
            "a\\${x} b",
            "\\\\${x}$",
            "no",
            "12:30",
            "1e-3",
            "0o7",
            "",
            "é 图",
            "tab\t",
        ),
        *("line\nbreak", "x=y,{z}:[a]", "#c", "null", "true", "~", "$5", "${", "- a", "a: b", " a "),
    ],
)
def test_any_text_reaches_dvc_unchanged(text: str, root: Path) -> None:
    config = {"a": text, "b": [text, {"c": text}]}
    assert by_dvc(root, list(assignments({"model": {"vision": {"config": config}}}))).model.vision.config == config


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        ({"model": {"vision": {"config": {"a": "???"}}}}, "model.vision.config: DVC does not take the text ???"),
        ({"register": {"guards": {"a b": 1}}}, "register.guards: a b: begin a key with a letter; letters, digits and"),
        ({"train": {"tasks": {"null": 1}}}, "train.tasks: null: begin a key with a letter"),
    ],
)
def test_values_that_dvc_cannot_read_are_one_line(overrides: dict[str, Any], line: str) -> None:
    with pytest.raises(VilamError) as error:
        list(assignments(overrides))
    assert line in str(error.value)


@pytest.mark.parametrize(
    ("word", "line"),
    [
        ("train", "train: expected name=value, such as train.steps=500"),
        ("train.stepz=5", "train.stepz: no such setting: check its spelling"),
        ("train.steps.all=5", "train.steps.all: no such setting"),
        ("train.cycle.retell=5", "train.cycle.retell: renamed to train.cycle.self_training"),
        ("train.tasks={a: 1, a: 2}", "not readable as YAML: a appears twice"),
    ],
)
def test_an_invalid_word_is_one_line(word: str, line: str, root: Path) -> None:
    with pytest.raises(VilamError) as error:
        parsed([word], root)
    assert line in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(("word", "value"), [("no", "no"), ("1e-3", 0.001), ("0o7", 7), ("12:30", "12:30"), ("", None)])
def test_words_are_read_as_yaml_1_2(word: str, value: Any, root: Path) -> None:
    found = parsed([f"prepare.source={word}"], root)["prepare"]["source"]
    assert (found, type(found)) == (value, type(value))


def test_environment_variables_are_replaced_in_presets_and_plans_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CELLS", "cells")
    content: dict[str, Any] = {}
    override(content, {"prepare.root": "${CELLS}/bccd"}, "plan")
    assert content == {"prepare": {"root": "cells/bccd"}}
    put(content, {"prepare.root": "${CELLS}/bccd"}, "form")
    assert content == {"prepare": {"root": "${CELLS}/bccd"}}
    with pytest.raises(VilamError, match=r"plan: prepare\.root: the environment variable NONE is not set"):
        override(content, {"prepare.root": "${NONE}"}, "plan")


def test_sections_merge() -> None:
    content: dict[str, Any] = {"train": {"steps": 5, "tasks": {"rec_box": 1}}}
    put(content, {"train": {"cycle": {"mode": "none"}, "tasks": {"reg_class": 1}}}, "test")
    assert content == {"train": {"steps": 5, "tasks": {"reg_class": 1}, "cycle": {"mode": "none"}}}
    assert settings_of({"train": {"steps": 5, "cycle": {"mode": "none"}}}, "test") == {
        "train.steps": 5,
        "train.cycle.mode": "none",
    }
    check_settings({}, "test")
