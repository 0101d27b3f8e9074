"""The graph: each stage has the same name everywhere, its dependencies are complete, and push and pull work."""

from __future__ import annotations

import ast
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from vilam.cli import STAGES
from vilam.config import PHASES, read_yaml
from vilam.overrides import get

REPORTING = {"cli", "errors", "files", "launch", "layout", "progress", "serving", "tracking"}
"""Modules and folders of vilam that start a stage or report on it, but do not affect its results."""


def imports(path: Path) -> Iterator[str]:
    """Every module that a file imports, and every name that it imports from one."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


OURS = ("vilam/", "configs/")
"""Prefixes of dependencies that are not outputs of other stages."""


def dvc(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run DVC in a folder."""
    return subprocess.run([sys.executable, "-m", "dvc", *words], cwd=folder, capture_output=True, text=True)


@pytest.fixture(scope="module")
def graph(project: Path) -> dict[str, Any]:
    """The stages of dvc.yaml."""
    stages: dict[str, Any] = read_yaml(project / "dvc.yaml")["stages"]
    return stages


def outs(stage: dict[str, Any]) -> list[str]:
    """All paths that a stage writes."""
    listed = [*stage.get("outs", []), *stage.get("metrics", []), *stage.get("plots", [])]
    return [out if isinstance(out, str) else next(iter(out)) for out in listed]


def code_of(path: Path, project: Path, seen: frozenset[Path] = frozenset()) -> frozenset[Path]:
    """A file and all of vilam that it imports, directly or indirectly, except REPORTING."""
    seen |= {path}
    for module in imports(path):
        found = project.joinpath(*module.split(".")).with_suffix(".py")
        package = project.joinpath(*module.split("."), "__init__.py")
        for file in (found, package):
            reports = REPORTING & {*file.relative_to(project).with_suffix("").parts}
            if module.startswith("vilam.") and file.is_file() and file not in seen and not reports:
                seen |= code_of(file, project, seen)
    return seen


def test_dvc_reads_the_graph(project: Path) -> None:
    listed = dvc(project, "stage", "list", "--name-only")
    assert listed.stdout.split() == list(STAGES), listed.stderr


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_has_one_name_everywhere(stage: str, graph: dict[str, Any], project: Path) -> None:
    assert graph[stage]["cmd"] == f"python -m vilam {stage}"
    assert stage in graph[stage]["params"]
    assert stage in read_yaml(project / "params.yaml")
    assert f"vilam/stages/{stage}.py" in graph[stage]["deps"]
    assert f"metrics/{stage}.json" in outs(graph[stage])


def test_params_yaml_names_the_settings_that_stages_depend_on(graph: dict[str, Any], project: Path) -> None:
    content = read_yaml(project / "params.yaml")
    used = {name for stage in graph.values() for name in stage["params"]}
    assert not [name for name in used if get(content, name.split(".")) is None]


@pytest.mark.parametrize("phase", PHASES)
def test_a_phase_depends_on_the_shared_settings(phase: str, graph: dict[str, Any]) -> None:
    assert {"optimiser", phase} <= {*graph[phase]["params"]}


def test_every_stage_depends_on_the_defaults_of_the_settings(graph: dict[str, Any]) -> None:
    assert all("vilam/config" in stage["deps"] for stage in graph.values())


def test_stages_are_in_the_order_in_which_they_run(graph: dict[str, Any]) -> None:
    made: set[str] = set()
    for stage in graph.values():
        written = {dep for dep in stage["deps"] if not dep.startswith(OURS)}
        assert written <= made
        made |= set(outs(stage))


def test_code_that_a_stage_depends_on_exists(graph: dict[str, Any], project: Path) -> None:
    code = {dep for stage in graph.values() for dep in stage["deps"] if dep.startswith(OURS)}
    assert not [dep for dep in code if not (project / dep).exists()]


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_depends_on_all_code_that_affects_its_results(stage: str, graph: dict[str, Any], project: Path) -> None:
    used = {str(path.relative_to(project)) for path in code_of(project / "vilam" / "stages" / f"{stage}.py", project)}
    assert not {path for path in used if not any(path.startswith(dep) for dep in graph[stage]["deps"])}


def test_runs_and_checkpoints_are_no_outputs(graph: dict[str, Any]) -> None:
    assert not [out for stage in graph.values() for out in outs(stage) if out.startswith(("mlruns", "checkpoints"))]


def test_what_others_registered_is_kept(graph: dict[str, Any]) -> None:
    """DVC removes other outputs before a stage runs."""
    assert {"models/registered": {"persist": True}} in graph["register"]["outs"]


def test_push_and_pull_restore_the_data(tmp_path: Path, project: Path) -> None:
    repository, remote = tmp_path / "repository", tmp_path / "remote"
    repository.mkdir()
    (repository / "dvc.yaml").write_text(
        "stages: {prepare: {cmd: python make.py, deps: [make.py], outs: [data/records]}}"
    )
    (repository / "make.py").write_text(
        "from pathlib import Path\n"
        "Path('data/records').mkdir(parents=True)\n"
        "Path('data/records/shard.parquet').write_bytes(bytes(range(256)))\n"
    )
    subprocess.run(["git", "init", "-q"], cwd=repository, check=True)
    assert dvc(repository, "init", "-q").returncode == 0
    shutil.copy(project / ".dvc" / "config", repository / ".dvc" / "config")
    assert dvc(repository, "remote", "add", "-d", "local", str(remote)).returncode == 0
    assert dvc(repository, "repro").returncode == 0
    assert dvc(repository, "push").returncode == 0
    shutil.rmtree(repository / "data" / "records")
    shutil.rmtree(repository / ".dvc" / "cache")
    pulled = dvc(repository, "pull")
    assert pulled.returncode == 0, pulled.stderr
    assert (repository / "data" / "records" / "shard.parquet").read_bytes() == bytes(range(256))


STAGE = """
import json, yaml
from pathlib import Path
from vilam.tracking.runs import open_run
with open_run(Path.cwd(), "train", tags={}) as tracker:
    tracker.log_metrics({"seed": yaml.safe_load(Path("params.yaml").read_text())["seed"]})
Path("metrics").mkdir()
Path("metrics/train.json").write_text(json.dumps({"run_id": tracker.run_id}))
"""
GRAPH = "stages: {train: {cmd: python stage.py, params: [seed], metrics: [{metrics/train.json: {cache: false}}]}}\n"


def test_experiments_of_the_queue_two_at_a_time_log_to_the_mlflow_of_the_project(tmp_path: Path) -> None:
    """Each creates the database if it is missing; the copies in which they run are gone afterwards."""
    for name, content in {"stage.py": STAGE, "dvc.yaml": GRAPH, "params.yaml": "seed: 1\n"}.items():
        (tmp_path / name).write_text(content)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    who = {f"GIT_{role}_{what}": "nobody@example.org" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    environment = {**os.environ, **who, "PATH": path, "PYTHONPATH": str(Path(__file__).parents[1])}
    for command in (
        *("git init -q", "dvc init -q", "git add .", "git commit -qm Begin"),
        "dvc exp run --queue --name one -S seed=2",
        "dvc exp run --queue --name two -S seed=3",
        "dvc exp run --run-all -j 2",
    ):
        done = subprocess.run(command.split(), cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    with sqlite3.connect(tmp_path / "mlruns" / "mlflow.db") as database:
        runs = database.execute("SELECT name, status, value FROM runs JOIN metrics USING (run_uuid) ORDER BY name")
        assert runs.fetchall() == [("one: train", "FINISHED", 2.0), ("two: train", "FINISHED", 3.0)]
    assert not list(tmp_path.glob(".dvc/tmp/exps/tmp*"))
