"""The command line: every word leads to its stage, and a mistake is one line without a traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from vilam.cli import STAGES, app, main, parse_box
from vilam.config import Settings, load_settings
from vilam.errors import VilamError


def vilam(*words: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """The command line in a process of its own."""
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    return subprocess.run([sys.executable, "-m", "vilam", *words], cwd=folder, env=env, capture_output=True, text=True)


def test_help_lists_every_stage(tmp_path: Path) -> None:
    shown = vilam("--help", folder=tmp_path)
    assert shown.returncode == 0
    assert all(word in shown.stdout for word in [*STAGES, "models", "table", "predict"])


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_gets_the_settings_and_the_folder(
    stage: str, project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    got: list[tuple[Settings, Path]] = []
    module = ModuleType(stage)
    vars(module)["run"] = lambda settings, root: got.append((settings, root))
    monkeypatch.setitem(sys.modules, f"vilam.stages.{stage}", module)
    monkeypatch.chdir(tmp_path)
    app([stage, "--params", str(project / "params.yaml")], standalone_mode=False)
    ((settings, root),) = got
    assert root == tmp_path
    assert settings.train.steps > 0


@pytest.mark.parametrize(("words", "protocol"), [([], "strict"), (["--protocol", "vilam-oracle"], "vilam-oracle")])
def test_the_protocol_is_that_of_the_command_line_or_of_the_settings(
    words: list[str], protocol: str, project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    got: list[Settings] = []
    module = ModuleType("evaluate")
    vars(module)["run"] = lambda settings, _root: got.append(settings)
    monkeypatch.setitem(sys.modules, "vilam.stages.evaluate", module)
    monkeypatch.chdir(tmp_path)
    app(["evaluate", "--params", str(project / "params.yaml"), *words], standalone_mode=False)
    own = load_settings(project / "params.yaml")
    assert got == [own.model_copy(update={"evaluate": own.evaluate.model_copy(update={"protocol": protocol})})]


def test_a_protocol_that_is_none_is_one_line(project: Path, tmp_path: Path) -> None:
    done = vilam("evaluate", "--params", str(project / "params.yaml"), "--protocol", "kind", folder=tmp_path)
    line = "vilam: --protocol: evaluate.protocol: Input should be 'strict' or 'vilam-oracle' (found 'kind')"
    assert done.returncode == 1 and done.stderr.splitlines() == [line]


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["prepare"], "vilam: params.yaml: not found: run vilam in the project's folder"),
        (["table"], "not found: run `dvc repro` first"),
        (["predict", "a.png"], "vilam: predict: ask one thing: --locate, --segment"),
        (["predict", "a.png", "--locate", "x", "--classify", "1,2,3,4"], "vilam: predict: ask one thing"),
        (["predict", "a.png", "--classify", "1,2,3"], "vilam: --classify 1,2,3: expected x1,y1,x2,y2"),
    ],
)
def test_a_mistake_is_one_line(words: list[str], line: str, tmp_path: Path) -> None:
    done = vilam(*words, folder=tmp_path)
    assert done.returncode == 1
    assert line in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_bug_keeps_its_traceback(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("prepare")
    vars(module)["run"] = lambda settings, root: {}["missing"]
    monkeypatch.setitem(sys.modules, "vilam.stages.prepare", module)
    monkeypatch.setattr(sys, "argv", ["vilam", "prepare", "--params", str(project / "params.yaml")])
    with pytest.raises(KeyError):
        main()


def test_parse_box() -> None:
    assert parse_box("1, 2.5,3,4", "classify") == (1.0, 2.5, 3.0, 4.0)


@pytest.mark.parametrize("words", ["3,2,1,4", "1,2,3,2", "nan,1,2,3", "a,b,c,d", ""])
def test_a_box_that_is_none_is_refused(words: str) -> None:
    with pytest.raises(VilamError, match="--classify"):
        parse_box(words, "classify")
