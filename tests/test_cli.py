"""The command line: every command runs its stage, and a mistake is one line without a traceback."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType

import pytest

from vilam.cli import STAGES, app, main, parse_box
from vilam.config import Settings, load_settings
from vilam.errors import VilamError


def vilam(*words: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the command line in another process."""
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    return subprocess.run([sys.executable, "-m", "vilam", *words], cwd=folder, env=env, capture_output=True, text=True)


def test_help_lists_every_stage(tmp_path: Path) -> None:
    done = vilam("--help", folder=tmp_path)
    assert done.returncode == 0
    assert all(word in done.stdout for word in [*STAGES, "models", "table", "predict"])


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_gets_the_settings_and_the_folder(
    stage: str, project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[Settings, Path]] = []
    module = ModuleType(stage)
    vars(module)["run"] = lambda settings, root: calls.append((settings, root))
    monkeypatch.setitem(sys.modules, f"vilam.stages.{stage}", module)
    monkeypatch.chdir(tmp_path)
    app([stage, "--params", str(project / "params.yaml")], standalone_mode=False)
    ((settings, root),) = calls
    assert root == tmp_path
    assert settings.train.steps > 0


@pytest.mark.parametrize(("words", "protocol"), [([], "strict"), (["--protocol", "vilam-oracle"], "vilam-oracle")])
def test_the_protocol_option_replaces_the_setting(
    words: list[str], protocol: str, project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[Settings] = []
    module = ModuleType("evaluate")
    vars(module)["run"] = lambda settings, _root: calls.append(settings)
    monkeypatch.setitem(sys.modules, "vilam.stages.evaluate", module)
    monkeypatch.chdir(tmp_path)
    app(["evaluate", "--params", str(project / "params.yaml"), *words], standalone_mode=False)
    own = load_settings(project / "params.yaml")
    assert calls == [own.model_copy(update={"evaluate": own.evaluate.model_copy(update={"protocol": protocol})})]


def test_an_unknown_protocol_is_one_line(project: Path, tmp_path: Path) -> None:
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


def test_a_box_is_parsed() -> None:
    assert parse_box("1, 2.5,3,4", "classify") == (1.0, 2.5, 3.0, 4.0)


@pytest.mark.parametrize("text", ["3,2,1,4", "1,2,3,2", "nan,1,2,3", "a,b,c,d", ""])
def test_an_invalid_box_is_refused(text: str) -> None:
    with pytest.raises(VilamError, match="--classify"):
        parse_box(text, "classify")


STAGE = """
import signal, sys, time
from pathlib import Path
from types import ModuleType
from vilam.cli import main

def run(settings, root):
    try:
        Path("begun").touch()
        time.sleep(60)
    finally:
        Path("closing").touch()
        time.sleep(0.5)
        Path("closed").touch()

sys.modules["vilam.stages.train"] = stage = ModuleType("train")
stage.run = run
for number in (signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, signal.SIG_DFL)  # pytest may be run by nohup
main()
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_a_stage_in_order(number: signal.Signals, project: Path, tmp_path: Path) -> None:
    """What is open is closed: a run of MLflow would be RUNNING for ever."""
    command = [sys.executable, "-c", STAGE, "train", "--params", str(project / "params.yaml")]
    env = {**os.environ, "PYTHONPATH": str(project)}
    process = subprocess.Popen(command, cwd=tmp_path, env=env, stderr=subprocess.PIPE, text=True)
    while not (tmp_path / "begun").exists():
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(number)
    while not (tmp_path / "closing").exists():
        time.sleep(0.01)
    process.send_signal(number)  # changes nothing
    _, shown = process.communicate(timeout=60)
    assert (tmp_path / "closed").exists()
    assert (process.returncode, shown) == (130, "")
