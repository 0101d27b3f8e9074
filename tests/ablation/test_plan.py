"""The file of an ablation: what it makes of the settings, and that every mistake in it is one line."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vilam.ablation.plan import changed, read_plan, settings_of
from vilam.config import check_settings, complete, read_yaml
from vilam.errors import VilamError

PROJECT = Path(__file__).parents[2]
NONE = {"train.cycle.mode": "none"}


def test_a_run_has_the_settings_of_all_then_of_its_arm_then_its_own(write: Callable[..., Path]) -> None:
    path = write(
        settings={"train.steps": 7, "train.warmup_steps": 1, "train.cycle.samples": 2},
        arms={"none": NONE, "long": {"train.steps": 9}},
    )
    plan, base = read_plan(path, path.with_name("params.yaml"))
    long = settings_of(plan, base, "long", 0.5, 3, path.parent)
    assert (long["train"]["steps"], long["train"]["cycle"]["samples"], long["train"]["threads"]) == (9, 2, 1)
    assert (long["seed"], long["synthesize"]["described_fraction"]) == (3, 0.5)
    assert settings_of(plan, base, "none", 0.5, 3, path.parent)["train"]["steps"] == 7
    assert base == complete(read_yaml(path.with_name("params.yaml")), "params.yaml")  # the project's own do not change
    check_settings(long, "made")


def test_the_name_may_be_of_the_environment(write: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOTS", "5")
    path = write(name="few-${SHOTS}", settings={"prepare.shots": "${SHOTS}"})
    plan, base = read_plan(path, path.with_name("params.yaml"))
    assert plan.name == "few-5"
    made = check_settings(settings_of(plan, base, "none", 1.0, 0, path.parent), Path("made"))
    assert made.prepare.shots == 5


@pytest.mark.parametrize("name", sorted(path.name for path in (PROJECT / "configs" / "ablations").glob("*.yaml")))
def test_the_project_s_own_files_are_whole(name: str, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("VILAM_BCCD", "VILAM_SHOTS", "VILAM_START"):
        monkeypatch.setenv(variable, "5")
    assert read_plan(project / "configs" / "ablations" / name, project / "params.yaml")[0].arms


def test_a_source_is_looked_for_from_the_project(write: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CELLS", "cells")
    path = write(settings={"prepare.source": "voc", "prepare.root": "${CELLS}/bccd"})
    plan, base = read_plan(path, path.with_name("params.yaml"))
    root = settings_of(plan, base, "none", 1.0, 0, path.parent)["prepare"]["root"]
    assert root == str(path.parent / "cells" / "bccd")


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"seeds": []}, "seeds: List should have at least 1 item"),
        ({"seeds": [1, 1]}, "seeds: one of [1, 1] appears twice"),
        ({"fractions": [1.5]}, "fractions.0: Input should be less than or equal to 1 (found 1.5)"),
        ({"jobs": 0}, "jobs: Input should be greater than or equal to 1 (found 0)"),
        ({"name": "a b"}, "name: String should match pattern"),
        ({"name": "a-${NOWHERE_AT_ALL}"}, "name: the environment variable NOWHERE_AT_ALL is not set"),
        ({"speed": 1}, "speed: no such setting: check its spelling"),
        ({"arms": {"pseudo": {}}}, "arms: the baseline none is missing: there are pseudo"),
        ({"arms": {"none": NONE, "loop": {"teacher": "nobody"}}}, "arms.loop.teacher: nobody is not an arm before it"),
        ({"arms": {"loop": {"teacher": "none"}, "none": NONE}}, "arms.loop.teacher: none is not an arm before it"),
        ({"time_arms": ["reward"]}, "time_arms: reward: choose one of pseudo"),
        ({"time_arms": ["none"]}, "time_arms: none: choose one of pseudo"),
        ({"time_fractions": [0.1]}, "time_fractions: [0.1]: expected a list, of 0.5"),
        (
            {"arms": {"none": NONE, "some": {"fractions": [0.5, 0.1]}}},
            "arms.some.fractions: [0.5, 0.1]: expected a list, of 0.5",
        ),
        ({"arms": {"none": NONE, "some": {"fractions": 0.5}}}, "arms.some.fractions: 0.5: expected a list, of 0.5"),
        ({"arms": {"none": NONE, "some": {"fractions": [[0.5]]}}}, "arms.some.fractions: [[0.5]]: expected a list"),
        ({"settings": {"train.stepz": 1}}, "settings: train.stepz: no such setting"),
        ({"settings": {"train.cycl.mode": 1}}, "settings: train.cycl.mode: no such setting"),
        ({"settings": {"train.steps.more": 1}}, "settings: train.steps.more: no such setting"),
        ({"settings": {"prepare.root": "${NOWHERE_AT_ALL}"}}, "the environment variable NOWHERE_AT_ALL is not set"),
        ({"settings": {"prepare.root": "${"}}, "prepare.root: ${: Invalid placeholder"),
        ({"settings": {"seed": 1}}, "settings: seed: leave it out: seeds sets it"),
        ({"settings": {"train": {"threads": 2}}}, "settings: train.threads: leave it out: threads sets it"),
        ({"settings": {"optimiser.threads": 2}}, "settings: optimiser.threads: leave it out: threads sets it"),
        ({"arms": {"none": NONE, "odd": {"train.cycle.mode": "wheel"}}}, "arms.odd: train.cycle.mode: Input should be"),
        (
            {"arms": {"none": NONE, "odd": {"train.threads": 2}}},
            "arms.odd: train.threads: leave it out: threads sets it",
        ),
    ],
)
def test_a_mistake_is_one_line_that_names_the_setting(
    changes: dict[str, Any], line: str, write: Callable[..., Path]
) -> None:
    path = write(**changes)
    with pytest.raises(VilamError, match=re.escape(line)) as caught:
        read_plan(path, path.with_name("params.yaml"))
    assert "\n" not in str(caught.value) and str(caught.value).startswith(str(path))


def test_an_arm_that_appears_twice_is_refused(write: Callable[..., Path]) -> None:
    path = write()
    path.write_text(path.read_text().replace("  pseudo:", "  none:"))
    with pytest.raises(VilamError, match=r"none appears twice.*line \d+"):
        read_plan(path, path.with_name("params.yaml"))


@pytest.mark.parametrize("text", ["[1, 2]", "", "arms: {"])
def test_a_file_that_is_no_plan_is_refused(text: str, write: Callable[..., Path]) -> None:
    path = write()
    path.write_text(text)
    with pytest.raises(VilamError, match=r"plan\.yaml") as caught:
        read_plan(path, path.with_name("params.yaml"))
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(VilamError, match=r"none\.yaml: not found"):
        read_plan(tmp_path / "none.yaml", tmp_path / "params.yaml")


@pytest.mark.parametrize(
    ("start", "expected"), [(None, None), ("models:/vilam@champion", "models:/vilam@champion"), ("old", "{root}/old")]
)
def test_a_model_to_fine_tune_is_found_from_a_run(
    start: str | None, expected: str | None, write: Callable[..., Path]
) -> None:
    path = write(settings={"model.fine_tune_from": start})
    plan, base = read_plan(path, path.with_name("params.yaml"))
    found = settings_of(plan, base, "none", 1.0, 0, path.parent)["model"]["fine_tune_from"]
    assert found == (expected and expected.format(root=path.parent))


@pytest.mark.parametrize(("source", "expected"), [("voc", "voc"), ("data/cells.yaml", "{root}/data/cells.yaml")])
def test_a_recipe_of_one_s_own_is_found_from_a_run(source: str, expected: str, write: Callable[..., Path]) -> None:
    path = write(settings={"prepare.source": source, "prepare.root": "pictures"})
    plan, base = read_plan(path, path.with_name("params.yaml"))
    prepare = settings_of(plan, base, "none", 1.0, 0, path.parent)["prepare"]
    assert prepare["source"] == expected.format(root=path.parent)
    assert prepare["root"] == f"{path.parent}/pictures"


def test_an_override_replaces_what_stands_there_and_copies_the_rest() -> None:
    base = {"train": {"tasks": {"a": 1, "b": 2}, "steps": 3}}
    assert changed(base, {"train.tasks": {"a": 5}}, "x") == {"train": {"tasks": {"a": 5}, "steps": 3}}
    assert changed(base, {"train.tasks.b": 5}, "x") == {"train": {"tasks": {"a": 1, "b": 5}, "steps": 3}}
    assert base == {"train": {"tasks": {"a": 1, "b": 2}, "steps": 3}}


@pytest.mark.parametrize("name", ["scenes", "cells"])
def test_the_projects_own_plans_are_whole(name: str, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VILAM_BCCD", "bccd")
    plan, _ = read_plan(project / "configs" / "ablations" / f"{name}.yaml", project / "params.yaml")
    assert len(plan.seeds) >= 3 and plan.teacher("loop") == "none" and set(plan.time_arms) < set(plan.arms)
