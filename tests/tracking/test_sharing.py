"""Registered versions as files: exported by one project, imported by a clone; the served model is a fake."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import mlflow
import pandas as pd
import pytest

from vilam.cli import app
from vilam.errors import VilamError
from vilam.tracking.connection import connect
from vilam.tracking.lookup import find_registered
from vilam.tracking.registry import Serving, download_artifact, download_model, log_model, set_alias, versions
from vilam.tracking.runs import open_run
from vilam.tracking.sharing import export_versions, import_versions, take_over

ANSWERS = "predictions/train.parquet"


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """A module that MLflow can load a model with."""
    code = tmp_path_factory.mktemp("code") / "fake_serving"
    code.mkdir()
    (code / "__init__.py").write_text(
        "class Model:\n    def predict(self, rows, params=None):\n        return rows\n"
        "def _load_pyfunc(path):\n    return Model()\n"
    )
    question = pd.DataFrame([{"task": "locate", "image": "", "text": "the red disc"}])
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(code.parent)
        yield Serving("fake_serving", code, question, ["numpy"])


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory, database: Path, serving: Serving) -> Path:
    """A project with two versions that were exported, the second one is champion."""
    root = new_project(tmp_path_factory.mktemp("original") / "project", database)
    for weights in ("one", "two"):
        register(root, weights, serving)
    set_alias(root, "vilam", "champion", 2)
    export_versions(root, "vilam")
    return root


@pytest.fixture
def theirs(original: Path, tmp_path: Path) -> Path:
    """A copy of `original`."""
    return Path(shutil.copytree(original, tmp_path / "theirs"))


def new_project(root: Path, database: Path) -> Path:
    (root / "mlruns").mkdir(parents=True)
    shutil.copy(database, root / "mlruns" / "mlflow.db")
    return root


def register(root: Path, weights: str, serving: Serving) -> str:
    """Register a model folder and the answers of its evaluation; returns the id of its run."""
    folder = root / "models" / "train"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_text(weights)
    (root / "predictions").mkdir(exist_ok=True)
    (root / ANSWERS).write_text(f"answers of {weights}")
    params = {f"setting{number}": number for number in range(250)}
    with open_run(root, "train", params=params, tags={"note": weights}) as tracker:
        tracker.log_metrics({"loss": 0.5})
        tracker.log_artifacts(root / "predictions", "predictions")
        log_model(folder, {"rec_box/acc_0.5": 0.75}, "vilam", {"gate": "passed", "of": weights}, serving)
    return tracker.run_id


def clone(root: Path, to: Path, database: Path) -> Path:
    """What git and DVC bring of a project."""
    shutil.copytree(
        root / "models" / "registered", new_project(to, database) / "models" / "registered", dirs_exist_ok=True
    )
    return to


def exported(root: Path) -> dict[str, bytes]:
    folder = root / "models" / "registered"
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_clone_imports_all_of_every_version(theirs: Path, tmp_path: Path, database: Path, serving: Serving) -> None:
    before = versions(theirs, "vilam")
    runs = [mlflow.get_run(version.run_id) for version in before]
    ours = clone(theirs, tmp_path / "ours", database)
    shutil.rmtree(theirs)
    assert import_versions(ours, serving) == [
        "vilam version 1: imported",
        "vilam version 2: imported",
        "vilam version 2: champion",
    ]
    after = versions(ours, "vilam")
    for there, run, here in zip(before, runs, after, strict=True):
        assert (here.number, here.origin, here.aliases) == (there.number, there.origin, there.aliases)
        assert (here.metrics, here.params) == (there.metrics, there.params)
        assert here.created == there.created
        added = {"imported_from": there.origin, "registered_at": there.created.isoformat()}
        assert here.tags == there.tags | added
        imported = mlflow.get_run(here.run_id)
        assert imported.data.metrics == run.data.metrics
        assert (imported.info.run_name, imported.info.status) == ("train", "FINISHED")
        assert (imported.info.start_time, imported.info.end_time) == (run.info.start_time, run.info.end_time)
        assert imported.data.tags["note"] == there.tags["of"]
        folder = download_model(f"models:/vilam/{here.number}", ours)
        assert (folder / "model.safetensors").read_text() == there.tags["of"]
        address = f"models:/vilam/{here.number}"
        assert find_registered(address, ours) == (address, folder)
        assert download_artifact(here.run_id, ANSWERS, ours).read_text() == f"answers of {there.tags['of']}"
        with open_run(ours, "evaluate", there.run_id) as tracker:  # models/train of the clone names that run
            assert tracker.run_id == here.run_id
    connect(ours)
    question = serving.input_example
    pd.testing.assert_frame_equal(mlflow.pyfunc.load_model("models:/vilam@champion").predict(question), question)


def test_a_second_import_does_nothing(theirs: Path, tmp_path: Path, database: Path, serving: Serving) -> None:
    ours = clone(theirs, tmp_path / "ours", database)
    import_versions(ours, serving)
    for root in (ours, theirs):
        assert import_versions(root, serving) == []
        assert len(versions(root, "vilam")) == 2


def test_an_export_keeps_what_others_registered(
    theirs: Path, tmp_path: Path, database: Path, serving: Serving, capsys: pytest.CaptureFixture[str]
) -> None:
    ours = clone(theirs, tmp_path / "ours", database)
    before = exported(ours)
    take_over(ours, "vilam", serving)  # as the stage does
    assert capsys.readouterr().out.splitlines()[-1] == "vilam version 2: champion"
    register(ours, "three", serving)
    set_alias(ours, "vilam", "champion", 3)
    export_versions(ours, "vilam")
    after = exported(ours)
    assert {name: content for name, content in after.items() if name in before and name != "registry.json"} == {
        name: content for name, content in before.items() if name != "registry.json"
    }
    assert len({name.split("/")[0] for name in after} - {"registry.json"}) == 3
    clone(ours, theirs / "pulled", database)
    shutil.copytree(theirs / "pulled" / "models", theirs / "models", dirs_exist_ok=True)
    assert import_versions(theirs, serving) == ["vilam version 3: imported", "vilam version 3: champion"]


def test_an_own_champion_stays(theirs: Path, tmp_path: Path, database: Path, serving: Serving) -> None:
    ours = new_project(tmp_path / "ours", database)
    register(ours, "own", serving)
    set_alias(ours, "vilam", "champion", 1)
    shutil.copytree(theirs / "models" / "registered", ours / "models" / "registered")
    assert import_versions(ours, serving) == [
        "vilam version 2: imported",
        "vilam version 3: imported",
        "the champion of vilam stays version 1, as it was here; models/registered names another one, "
        "which is version 3 here: move the alias in MLflow if you want that one",
    ]
    assert [version.aliases for version in versions(ours, "vilam")] == [("champion",), (), ()]


def test_what_was_deleted_here_stays_deleted(theirs: Path, tmp_path: Path, database: Path, serving: Serving) -> None:
    ours = clone(theirs, tmp_path / "ours", database)
    import_versions(ours, serving)
    for root in (ours, theirs):
        connect(root)
        mlflow.MlflowClient().delete_model_version("vilam", "1")
        (line,) = import_versions(root, serving)
        assert line == "vilam version 1 of models/registered: deleted here, left out"
        assert [version.number for version in versions(root, "vilam")] == [2]


def test_a_version_whose_files_are_gone_is_left_out(
    theirs: Path, serving: Serving, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(theirs / "models" / "registered")
    shutil.rmtree(download_model("models:/vilam/1", theirs).parents[1])
    export_versions(theirs, "vilam")
    assert "vilam version 1 is not in models/registered: " in capsys.readouterr().err
    (kept,) = (theirs / "models" / "registered").glob("*/version.json")
    assert json.loads(kept.read_text())["number"] == 2


def test_with_a_server_its_address_is_exported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://bob:secret@mlflow.lab:5000/")
    export_versions(tmp_path, "vilam")
    assert exported(tmp_path).keys() == {"registry.json"}
    assert json.loads(exported(tmp_path)["registry.json"])["server"] == "http://mlflow.lab:5000"
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(VilamError, match=r"export MLFLOW_TRACKING_URI=http://mlflow\.lab:5000$"):
        download_model("models:/vilam@champion", tmp_path)


LOCK = "stages:\n  register:\n    outs:\n    - path: models/registered\n      hash: md5\n"


@pytest.mark.parametrize(
    ("files", "advice"),
    [
        ({}, "run `dvc repro` first"),
        ({"dvc.lock": LOCK}, "run `dvc pull`, then `vilam models --import`"),
        (
            {"dvc.lock": LOCK, "models/registered/registry.json": '{"aliases": {}, "server": null}'},
            "`vilam models --import` takes over those in models/registered",
        ),
    ],
)
@pytest.mark.parametrize("command", [["models"], ["predict", "photo.png", "--locate", "the disc"]])
def test_a_clone_without_versions_is_told_how_to_get_them(
    command: Sequence[str],
    files: dict[str, str],
    advice: str,
    project: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shutil.copy(project / "params.yaml", tmp_path)
    shutil.copy(project / "docs" / "images" / "scenes.png", tmp_path / "photo.png")
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(VilamError) as caught:
        app([*command], standalone_mode=False)
    assert str(caught.value) == f"no version of vilam is registered here: {advice}"
    assert not (tmp_path / "mlruns").exists()


def test_what_was_not_pulled_is_named(tmp_path: Path, serving: Serving, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "dvc.lock").write_text(LOCK)
    take_over(tmp_path, "vilam", serving)
    assert "models/registered was not pulled" in capsys.readouterr().err


def test_there_is_nothing_to_import(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copy(project / "params.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(VilamError, match="models/registered: not found: run `dvc pull` first"):
        app(["models", "--import"], standalone_mode=False)
