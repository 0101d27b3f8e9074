"""The package as a user gets it: a wheel, installed without the checkout, makes a project whose pipeline runs."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from zipfile import ZipFile

import pytest
import toy

from vilam.commands.init import project_files
from vilam.config import yaml_text

CODE = """
import importlib, sys
from pathlib import Path
import vilam
assert Path(vilam.__file__).is_relative_to(sys.argv[1]), vilam.__file__
import deepspeed, runs
for module in (*runs.LATER, *(f"vilam.stages.{stage}" for stage in runs.STAGES)):
    importlib.import_module(module)
for number, stage in enumerate(runs.STAGES):
    runs.finish(runs.start(Path.cwd(), stage, number))
"""
"""Runs all stages in the current folder, each in a child of one process, which imports everything once."""


def build(kind: str, source: Path, folder: Path) -> Path:
    """The wheel or the sdist, made from ``source`` offline."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", kind, "-d", str(folder)]
    subprocess.run(command, cwd=source, check=True, capture_output=True, text=True)
    (made,) = folder.iterdir()
    return made


def content(wheel: Path) -> dict[str, bytes]:
    with ZipFile(wheel) as opened:
        return {name: opened.read(name) for name in opened.namelist() if "dist-info" not in name}


@pytest.fixture(scope="module")
def wheel(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout."""
    return build("wheel", project, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def site(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder where the wheel is installed."""
    folder = tmp_path_factory.mktemp("site")
    ZipFile(wheel).extractall(folder)
    return folder


@pytest.fixture(scope="module")
def made(site: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project that the installed package makes."""
    folder = tmp_path_factory.mktemp("work") / "my-project"
    assert "next: cd my-project" in vilam(site, folder.parent, "init", "my-project")
    return folder


def run(site: Path, folder: Path, *words: str) -> str:
    """What Python prints in a folder; the installed package comes first on its path."""
    paths = (str(site), str(Path(__file__).parent))
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1", "DS_ACCELERATOR": "cpu"}
    done = subprocess.run([sys.executable, *words], cwd=folder, env=env, capture_output=True, text=True)
    logs = "".join(log.read_text()[-2000:] for log in sorted(folder.glob("log-*.txt")))
    assert done.returncode == 0, f"{done.stderr[-2000:]}\n{logs}"
    return done.stdout


def vilam(site: Path, folder: Path, *words: str) -> str:
    return run(site, folder, "-m", "vilam", *words)


def test_the_wheel_installs_one_package_with_all_of_its_files(wheel: Path, project: Path) -> None:
    tracked = subprocess.run(["git", "ls-files", "vilam"], cwd=project, capture_output=True, text=True, check=True)
    names = content(wheel).keys()
    assert {name.partition("/")[0] for name in names} == {"vilam"}
    assert {*tracked.stdout.split()} | {"vilam/py.typed"} <= names


def test_the_sdist_makes_the_same_wheel(wheel: Path, project: Path, tmp_path: Path) -> None:
    with tarfile.open(build("sdist", project, tmp_path / "sdist")) as opened:
        opened.extraction_filter = getattr(tarfile, "data_filter", None)  # Python 3.11.2 has none
        opened.extractall(tmp_path)
    (source,) = tmp_path.glob("vilam-*")
    assert content(build("wheel", source, tmp_path / "wheel")) == content(wheel)


def test_the_installed_package_makes_the_project_that_the_checkout_makes(made: Path) -> None:
    found = {str(path.relative_to(made)) for path in made.rglob("*") if path.is_file()}
    expected = project_files()
    assert {name for name in found if not name.startswith(".git/")} == expected.keys()
    assert {name: (made / name).read_text() for name in expected} == expected


def test_all_data_sets_are_listed_in_any_folder(site: Path, made: Path, tmp_path: Path, project: Path) -> None:
    names = {"scenes", *(path.stem for path in (project / "configs" / "datasets").glob("*.yaml"))}
    for folder in (made, tmp_path):
        assert names <= {line.partition(" ")[0] for line in vilam(site, folder, "datasets").splitlines()}


def test_the_flow_of_the_project_reads_its_stages(site: Path, made: Path) -> None:
    code = "from flows.pipeline import ROOT, read_stages; print(ROOT, len(read_stages(ROOT)))"
    assert run(site, made, "-c", code).split() == [str(made), "6"]


def test_the_pipeline_runs_in_the_project_to_the_end(site: Path, made: Path, tmp_path: Path, database: Path) -> None:
    project = tmp_path / "project"
    shutil.copytree(made, project)
    assert "settings changed" in vilam(site, project, "use", "configs/models/small.yaml")
    (project / "params.yaml").write_text(yaml_text(toy.params(activate__steps=2, train__steps=2)))
    shutil.copy(database, project / "mlruns" / "mlflow.db")
    run(site, project, "-c", CODE, str(site))
    assert json.loads((project / "metrics" / "register.json").read_text())["version"]
    assert "version 1" in vilam(site, project, "models")
    assert "rec_box" in vilam(site, project, "table")
