"""Shared by all tests: the environment without telemetry, the project's folder, real data, toy projects."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from vilam.cli import ENVIRONMENT

if TYPE_CHECKING:
    from shell import Shell

os.environ.update(ENVIRONMENT)
for name in ("MLFLOW_TRACKING_URI", "VILAM_MLRUNS"):
    os.environ.pop(name, None)


@pytest.fixture(scope="session")
def project() -> Path:
    """The project's folder."""
    return Path(__file__).parents[1]


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real data that VILAM_TEST_DATA names; skips the test if it is not set."""
    folder = os.environ.get("VILAM_TEST_DATA")
    if not folder:
        pytest.skip("VILAM_TEST_DATA names no folder of real data")
    return Path(folder)


@pytest.fixture(scope="session")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty MLflow database, which tests copy because creating one takes seconds."""
    import mlflow

    from vilam.tracking.connection import connect

    root = tmp_path_factory.mktemp("empty")
    connect(root)
    mlflow.search_registered_models()
    return root / "mlruns" / "mlflow.db"


@pytest.fixture(scope="session")
def projects(tmp_path_factory: pytest.TempPathFactory, database: Path) -> Path:
    """Toy projects whose stages have been run: uninterrupted, killed, and in several processes (see runs.py)."""
    import toy

    folder = tmp_path_factory.mktemp("projects")
    toy.make_projects(folder, database)
    return folder


@pytest.fixture(scope="session")
def shell_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The environment of a person's shell, in which commands have no start-up (see shell.py)."""
    import shell

    with shell.shell_environment(tmp_path_factory.mktemp("shell")) as environment:
        yield environment


@pytest.fixture(scope="session")
def finished(shell_environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Shell:
    """A finished project of `vilam init`, to be copied (see shell.py)."""
    import shell

    return shell.finished(tmp_path_factory.mktemp("documents"), shell_environment)
