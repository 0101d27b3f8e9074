"""The flow end to end on a tiny DVC project; it also tests the pinned fastapi, without which no flow runs."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter
from prefect.client.schemas.objects import Artifact
from prefect.deployments.runner import RunnerDeployment
from prefect.exceptions import PrefectHTTPStatusError, TerminationSignal

from flows.pipeline import main, pipeline, read_stages
from vilam.cli import STAGES
from vilam.config import check_settings, parse_yaml
from vilam.errors import VilamError


@pytest.fixture(scope="module")
def deployment(prefect: None) -> UUID:
    """The id of the flow's deployment on the server."""
    made = pipeline.to_deployment(name="local")
    assert isinstance(made, RunnerDeployment)
    identity = made.apply()
    assert isinstance(identity, UUID)
    return identity


def artifacts() -> dict[str, Artifact]:
    """The newest artifact by key."""
    with get_client(sync_client=True) as client:
        found = client.read_artifacts(artifact_filter=ArtifactFilter())
    return {str(artifact.key): artifact for artifact in sorted(found, key=lambda one: str(one.created))}


def stages_of(progress: Artifact) -> dict[str, str]:
    """The last state of each stage, without its duration; the run must be at its end."""
    assert progress.data == 100
    rows = re.findall(r"- \*\*(\w+)\*\*: (\w+)", str(progress.description))
    return dict(rows)


def test_stages_are_those_of_the_command_line(project: Path) -> None:
    assert read_stages(project) == list(STAGES)


UNTOUCHED = {"train": {}, "register": {}, "prepare": {"scenes": {}}, "model": {"vision": {}, "language": {}}}
"""What Prefect's UI sends for an untouched form."""


def test_every_stage_runs_and_shows_its_metrics(small: Path) -> None:
    pipeline(UNTOUCHED)
    assert (small / "out" / "register").is_file()
    shown = artifacts()
    assert "| nested: a\\|b | 2 |" in str(shown["metrics-train"].data)
    assert "| steps | 1.5 |" in str(shown["metrics-register"].data)
    assert stages_of(shown["progress"]) == {"train": "done", "register": "done"}
    pipeline()
    assert stages_of(artifacts()["progress"]) == {"train": "unchanged", "register": "unchanged"}


def test_overrides_run_in_a_copy_of_the_workspace(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (small / "params.yaml").read_text()
    main(["train.steps=70", "train.threads=1", "train.tasks={rec_box: 3}", "prepare.root=cells", "prepare.source=voc"])
    assert (small / "params.yaml").read_text() == before
    assert not (small / "out").exists()
    listed = subprocess.run(["git", "for-each-ref", "--format=%(refname)", "refs/exps"], capture_output=True, text=True)
    (reference,) = (line for line in listed.stdout.split() if "/exec/" not in line and "/stash" not in line)
    params = subprocess.run(["git", "show", f"{reference}:params.yaml"], capture_output=True, text=True).stdout
    made = check_settings(parse_yaml(params, "experiment"), "experiment")
    assert (made.train.steps, made.train.threads, made.train.tasks) == (70, 1, {"rec_box": 3})
    assert made.prepare.root == Path("cells")
    shown = artifacts()
    assert "#/runs/abc" in str(shown["mlflow-run"].data)
    assert "### rec_box_worst_01" in str(shown["gallery"].data)  # the experiment's: the workspace has none
    assert not (small / "reports").exists()
    assert stages_of(shown["progress"]) == {"train": "done", "register": "done"}


def test_overrides_that_do_not_fit_run_no_stage(small: Path) -> None:
    with pytest.raises(VilamError, match="source voc reads files: set"):
        pipeline({"prepare": {"source": "voc"}})
    assert "- **train**: waiting" in str(artifacts()["progress"].description)


def test_a_failed_stage_reports_why(small: Path) -> None:
    (small / "params.yaml").write_text((small / "params.yaml").read_text().replace("seed: 42", "seed: 13"))
    with pytest.raises(VilamError, match=r"dvc repro --single-item train` ended with 255.*vilam: unlucky"):
        pipeline()
    assert "- **train**: failed in 0:0" in str(artifacts()["progress"].description)


@pytest.fixture
def ignored_sigterm() -> Iterator[None]:
    """Prefect sends SIGTERM on to the process, which would end the tests."""
    before = signal.signal(signal.SIGTERM, lambda number, frame: None)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize("overrides", [{"seed": 17}, {}])
def test_a_cancelled_run_leaves_nothing_behind(
    small: Path, overrides: dict[str, int], ignored_sigterm: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its stage has the time to close what is open, and DVC removes its copy and its refs."""
    marks = small / "marks"
    marks.mkdir()
    monkeypatch.setenv("MARKS", str(marks))
    if not overrides:
        (small / "params.yaml").write_text((small / "params.yaml").read_text().replace("seed: 42", "seed: 17"))

    def cancel() -> None:
        while not (marks / "begun").exists():
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGTERM)  # what Prefect's worker sends

    threading.Thread(target=cancel, daemon=True).start()
    with pytest.raises(TerminationSignal):
        pipeline(overrides)
    assert (marks / "closed").exists()
    assert not [*small.glob(".dvc/tmp/exps/*/tmp*")]
    assert not subprocess.run(["git", "for-each-ref", "refs/exps"], capture_output=True, text=True).stdout
    assert "- **train**: cancelled in 0:0" in str(artifacts()["progress"].description)


def test_the_server_accepts_a_run_with_overrides(deployment: UUID) -> None:
    with get_client(sync_client=True) as client:
        run = client.create_flow_run_from_deployment(deployment, parameters={"overrides": {"train": {"steps": 50}}})
    assert run.parameters == {"overrides": {"train": {"steps": 50}}}


@pytest.mark.parametrize("train", [{"stepz": 5}, {"steps": "many"}, {"steps": 0}])
def test_the_server_refuses_invalid_overrides(deployment: UUID, train: dict[str, object]) -> None:
    with get_client(sync_client=True) as client, pytest.raises(PrefectHTTPStatusError, match="409"):
        client.create_flow_run_from_deployment(deployment, parameters={"overrides": {"train": train}})


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["train.stepz=5"], "train.stepz: no such setting"),
        (["train.steps=0"], "train.steps: Input should be greater than or equal to 1"),
        (["prepare.source=voc"], "source voc reads files"),
        (["train"], "train: expected name=value"),
    ],
)
def test_invalid_overrides_are_one_line(words: list[str], line: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(words)
    assert line in capsys.readouterr().err
