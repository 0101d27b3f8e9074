"""The only Prefect harness, started once, and a tiny DVC project whose stages only write their settings."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from flows import pipeline

STAGE = """
import json, os, signal, sys, time
from pathlib import Path
stage, params = sys.argv[1], Path("params.yaml").read_text()
print("running", stage, flush=True)
if "seed: 13" in params:
    sys.exit("vilam: unlucky")
if "seed: 17" in params:
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    marks = Path(os.environ["MARKS"])
    try:
        (marks / "begun").touch()
        time.sleep(60)
    finally:
        time.sleep(1)
        (marks / "closed").touch()
print(f"{stage}: 3/4 images, 2.5 images/s, loss 1.25, 0:24 left", flush=True)
Path("out").mkdir(exist_ok=True)
Path(f"out/{stage}").write_text(params)
if stage == "register":
    Path("reports/gallery").mkdir(parents=True)
    Path("reports/gallery/rec_box_worst_01.jpg").write_bytes(params[-20:].encode())
Path("metrics").mkdir(exist_ok=True)
Path(f"metrics/{stage}.json").write_text(json.dumps({"steps": 1.5, "run_id": "abc", "nested": {"a|b": 2}}))
"""

GRAPH = """
stages:
  train:
    cmd: python stage.py train
    params: [seed, train]
    outs: [out/train]
    metrics: [{metrics/train.json: {cache: false}}]
  register:
    cmd: python stage.py register
    deps: [out/train]
    outs: [out/register, reports]
    metrics: [{metrics/register.json: {cache: false}}]
"""


@pytest.fixture(scope="session")
def prefect() -> Iterator[None]:
    """A Prefect server for the tests, with a temporary database."""
    from prefect.testing.utilities import prefect_test_harness

    with prefect_test_harness(server_startup_timeout=600):
        yield


@pytest.fixture
def small(prefect: None, tmp_path: Path, project: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project of two stages with the settings of this one, under git and DVC; the flow runs in it."""
    (tmp_path / "stage.py").write_text(STAGE)
    (tmp_path / "dvc.yaml").write_text(GRAPH)
    (tmp_path / "params.yaml").write_text((project / "params.yaml").read_text())
    (tmp_path / ".gitignore").write_text("/out/\n/reports/\n")
    for name in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{name}_NAME", "nobody")
        monkeypatch.setenv(f"GIT_{name}_EMAIL", "nobody@example.org")
    monkeypatch.setattr(pipeline, "ROOT", tmp_path)
    monkeypatch.setattr(pipeline, "run_stage", pipeline.run_stage.with_options(retry_delay_seconds=0))
    monkeypatch.chdir(tmp_path)
    for command in ("git init -q", "dvc init -q", "git add .", "git commit -qm Begin"):
        subprocess.run(command.split(), cwd=tmp_path, check=True, env={**os.environ}, capture_output=True)
    return tmp_path
