"""`vilam experiments` on real experiments of DVC: one that has ended, one that waits."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from vilam.commands.experiments import Experiment, differences, experiments_table, read_experiments, show_experiments
from vilam.config import load_settings
from vilam.errors import VilamError

STAGE = """
import json, pathlib, re
steps = int(re.search(r"steps: (\\d+)", pathlib.Path("params.yaml").read_text())[1])
metrics = {"rec_box/acc_0.5": steps / 1000, "rec_mask/miou": 0.25, "rec_mask/total": 7}
pathlib.Path("metrics").mkdir(exist_ok=True)
pathlib.Path("metrics/evaluate.json").write_text(json.dumps({"activate": {}, "train": metrics}))
pathlib.Path("metrics/register.json").write_text(json.dumps({"version": steps}))
"""
GRAPH = """
stages:
  evaluate:
    cmd: python stage.py
    params: [train]
    metrics: [{metrics/evaluate.json: {cache: false}}, {metrics/register.json: {cache: false}}]
"""
PARAMS = "seed: 1\ntrain: {steps: 100, threads: null, tasks: {rec_box: 1}}\n"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose workspace has run, with the experiments `more` and `waiting`."""
    folder = tmp_path_factory.mktemp("project")
    for name, content in {"stage.py": STAGE, "dvc.yaml": GRAPH, "params.yaml": PARAMS}.items():
        (folder / name).write_text(content)
    who = {f"GIT_{role}_{what}": "nobody@example.org" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    for command in (
        *("git init -q", "dvc init -q", "dvc repro -q", "git add .", "git commit -qm Begin"),
        "dvc exp run --temp --name more -S train.steps=300",
        "dvc exp run --queue --name waiting -S +train.tasks.rec_mask=2",
    ):
        done = subprocess.run(
            command.split(), cwd=folder, env={**os.environ, **who, "PATH": path}, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
    return folder


def test_the_experiments_of_dvc_are_read(root: Path) -> None:
    workspace, *others = read_experiments(root)
    assert (workspace.name, workspace.version, workspace.settings["train.threads"]) == ("workspace", 100, None)
    found = {each.name: each for each in others}
    assert found.keys() == {"more", "waiting"}
    assert (found["more"].version, found["more"].metrics["rec_box/acc_0.5"]) == (300, 0.3)
    assert found["waiting"].state == "queued" and not found["waiting"].metrics  # those of the workspace are not its own
    assert [*differences(workspace.settings, found["more"].settings)] == [("train.steps", "300")]
    assert [*differences(workspace.settings, found["waiting"].settings)] == [("train.tasks.rec_mask", "2")]


def test_the_table_has_what_differs(root: Path, project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    show_experiments(load_settings(project / "params.yaml").register_, root)
    shown = capsys.readouterr().out
    assert max(map(len, shown.splitlines())) <= 120
    rows = {line.split()[0]: line.split() for line in shown.splitlines()}
    assert rows["workspace"][1:] == ["0.100", "0.250", "100"]
    assert rows["more"][-3:] == ["0.300", "0.250", "300"]
    assert rows["waiting"][1] == "(queued)" and rows["waiting"][-3:] == ["-", "-", "-"]
    assert rows["train.steps=300"] and rows["train.tasks.rec_mask=2"] and "seed" not in shown


@pytest.mark.parametrize(
    ("setting", "others"),
    [("evaluate.max_images", True), ("seed", True), ("evaluate.include_activate", False), ("train.steps", False)],
)
def test_it_says_which_experiments_have_other_test_data(
    setting: str, others: bool, project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = [
        Experiment(name, "", None, {setting: value}, {}, None) for value, name in enumerate(("workspace", "other"))
    ]
    monkeypatch.setattr("vilam.commands.experiments.read_experiments", lambda root: found)
    show_experiments(load_settings(project / "params.yaml").register_, project)
    assert ("other test data" in capsys.readouterr().out) is others


def test_without_experiments_it_says_how_to_make_one(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    alone = Experiment("workspace", "", None, {}, {}, None)
    monkeypatch.setattr("vilam.commands.experiments.read_experiments", lambda root: [alone])
    show_experiments(load_settings(project / "params.yaml").register_, project)
    assert "no experiments yet: `dvc exp run --temp" in capsys.readouterr().out


def test_many_tasks_and_long_settings_fit_a_terminal() -> None:
    metrics = {name: 0.123 for name in ("rec_box/acc_0.5", "rec_keypoints/oks", "rec_mask/miou", "reg_class/accuracy")}
    metrics |= {"reg_caption/cider": 1.234, "cycle/round_trip_acc_0.5": 0.5}
    workspace = Experiment("workspace", "", None, {"train.cycle.image_fraction": 0.5}, metrics, 12)
    other = Experiment("a-name-of-dvc", "running", None, {"train.cycle.image_fraction": 0.25}, metrics, 13)
    lines = experiments_table(workspace, [other], ["rec_box/acc_0.5"]).splitlines()
    assert max(map(len, lines)) <= 120
    assert any(line.strip() == "train.cycle.image_fraction=0.25" for line in lines)


def test_a_folder_without_git_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(VilamError, match=r"experiments: .*: run it in a project under git and DVC"):
        read_experiments(tmp_path)
