"""Several processes for one stage: how they are started, and all_gather."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import toy

from vilam import launch as module
from vilam.errors import VilamError


def test_a_single_process_and_a_launched_one_are_not_launched(monkeypatch):
    monkeypatch.delenv("RANK", raising=False)
    assert not module.launch("train", toy.settings().train, Path())
    monkeypatch.setenv("RANK", "1")  # started by the launcher
    assert not module.launch("train", toy.settings(train__processes=2).train, Path())


@pytest.mark.parametrize("stage", ["train", "synthesize", "evaluate"])
@pytest.mark.parametrize("code", [0, 1])
@pytest.mark.parametrize("words", [[], ["--params", "other.yaml", "--protocol", "strict"]])
def test_several_processes_are_started_by_torch(monkeypatch, tmp_path, code, stage, words):
    started: list[Any] = []
    monkeypatch.delenv("RANK", raising=False)
    monkeypatch.setattr(module.sys, "argv", ["vilam", stage, *words])
    monkeypatch.setattr(module, "_wait", lambda command, cwd: started.append((command, cwd)) or code)
    own = getattr(toy.settings(**{f"{stage}__processes": 2}), stage)
    if code:
        with pytest.raises(VilamError, match="one of 2 processes failed"):
            module.launch(stage, own, tmp_path)
    else:
        assert module.launch(stage, own, tmp_path)
    command, folder = started[0]
    assert command[1:3] == ["-m", "torch.distributed.run"] and command[command.index("vilam") - 1 :] == [
        "-m",
        "vilam",
        stage,
        *words,
    ]
    assert command[command.index("--nproc-per-node") + 1] == "2" and folder == tmp_path


LAUNCHER = """
import os, signal, sys, time
def end(number, frame):
    time.sleep(1)  # subprocess.run would have killed it by now
    print("ended its processes", "alone" if os.getpgid(0) == os.getpid() else "in the group", file=log)
    sys.exit()
with open(sys.argv[1], "w", buffering=1) as log:
    signal.signal(signal.SIGTERM, end)
    print("started", file=log)
    time.sleep(60)
"""


def test_the_launcher_ends_its_processes_if_this_one_is_interrupted(tmp_path):
    log = tmp_path / "log"
    before = signal.signal(signal.SIGINT, signal.default_int_handler)

    def interrupt():
        while not log.exists() or not log.read_text():
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    with pytest.raises(KeyboardInterrupt):
        module._wait([sys.executable, "-c", LAUNCHER, str(log)], tmp_path)
    signal.signal(signal.SIGINT, before)
    assert log.read_text().splitlines() == ["started", "ended its processes alone"]


@pytest.mark.parametrize("environment", [{}, {"RANK": "0", "WORLD_SIZE": "1"}])
def test_a_single_process_needs_no_process_group(monkeypatch, environment):
    for name in ("RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with module.process_group() as processes:
        assert (processes.rank, processes.size) == (0, 1) and processes.all_gather("found") == ["found"]


@pytest.mark.parametrize(("environment", "rank"), [({}, 0), ({"RANK": "0"}, 0), ({"RANK": "1"}, 1)])
def test_the_rank_is_read_from_the_environment(monkeypatch, environment, rank):
    monkeypatch.delenv("RANK", raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert module.rank() == rank
