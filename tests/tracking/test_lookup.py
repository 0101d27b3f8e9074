"""What is found in the database without MLflow is what MLflow finds, or nothing."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from mlflow import MlflowClient

from vilam.tracking.connection import connect
from vilam.tracking.lookup import find_registered
from vilam.tracking.registry import download_model, pinned

ADDRESSES = ("models:/vilam@champion", "models:/vilam/1", "models:/vilam/2", "models:/vilam/3", "models:/other/1")


@pytest.fixture
def root(tmp_path: Path, database: Path) -> Path:
    """A project with two models; version 1 of vilam is champion, version 2 was deleted."""
    root = tmp_path / "a project, 100% new?"
    (root / "mlruns").mkdir(parents=True)
    shutil.copy(database, root / "mlruns" / "mlflow.db")
    connect(root)
    client = MlflowClient()
    for name, number in (("vilam", 1), ("vilam", 2), ("vilam", 3), ("other", 1)):
        if number == 1:
            client.create_registered_model(name)
        client.create_model_version(name, artifacts(root, f"{name}{number}").as_uri())
    client.set_registered_model_alias("vilam", "champion", "1")
    client.delete_model_version("vilam", "2")
    return root


def artifacts(root: Path, name: str) -> Path:
    """Files of a model as MLflow keeps them; the model folder has another name in each."""
    folder = root / "mlruns" / "artifacts" / "models" / name / "artifacts"
    folder.mkdir(parents=True)
    (folder / "MLmodel").write_text(f"flavors:\n  python_function:\n    data: data of {name}\n")
    return folder


def through_mlflow(address: str, root: Path) -> tuple[str, Path] | None:
    try:
        return pinned(address, root), download_model(address, root)
    except Exception:
        return None


def test_mlflow_finds_the_same(root: Path) -> None:
    expected = {address: through_mlflow(address, root) for address in ADDRESSES}
    assert {address: find_registered(address, root) for address in ADDRESSES} == expected
    folders = [found and found[1].name for found in expected.values()]
    assert folders == ["data of vilam1", "data of vilam1", None, "data of vilam3", "data of other1"]
    client = MlflowClient()
    client.set_registered_model_alias("vilam", "champion", "3")
    found = find_registered("models:/vilam@champion", root)
    assert found is not None and found == through_mlflow("models:/vilam@champion", root)
    assert found[0] == "models:/vilam/3"


def test_what_is_not_as_expected_is_left_to_mlflow(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    moved = tmp_path / "moved"
    shutil.copytree(root, moved)
    for address in ("models/train", "models:/vilam", "models:/vilam@nobody", "models:/nothing/1"):
        assert find_registered(address, root) is None
    assert find_registered(ADDRESSES[0], moved) is None, "its database still names the original's folder"
    assert find_registered(ADDRESSES[0], tmp_path) is None, "no database"
    (moved / "mlruns" / "mlflow.db").write_bytes(b"no database at all " * 100)
    assert find_registered(ADDRESSES[0], moved) is None
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")
    assert find_registered(ADDRESSES[0], root) is None
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    found = find_registered(ADDRESSES[0], root)
    assert found is not None
    (found[1].parent / "MLmodel").unlink()
    assert find_registered(ADDRESSES[0], root) is None


def test_a_champion_is_found_without_importing_mlflow(root: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from vilam.inference.resolve import registered_model; "
        "print(registered_model('models:/vilam@champion', Path.cwd())[0], "
        "{'mlflow', 'pydantic', 'torch'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout == "models:/vilam/1 set()\n"
