"""Artifacts of a stage: links to its run and its report in MLflow, and the images of the gallery."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from flows import artifacts


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The artifacts that were created: links and Markdown by key."""
    made: dict[str, str] = {}
    monkeypatch.setattr(artifacts, "create_link_artifact", lambda key, link, link_text: made.update({key: link}))
    monkeypatch.setattr(
        artifacts, "create_markdown_artifact", lambda key, markdown, description: made.update({key: markdown})
    )
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.delenv("MLFLOW_UI", raising=False)
    return made


def trained(root: Path, info: dict[str, str | None]) -> Path:
    folder = root / "models" / "train"
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(json.dumps(info))
    return root


@pytest.mark.parametrize("stage", ["prepare", "activate", "register"])
def test_other_stages_have_no_run(stage: str, shown: dict[str, str], tmp_path: Path) -> None:
    artifacts.show_stage(stage, trained(tmp_path, {"run_id": "abc"}))
    assert not shown


@pytest.mark.parametrize(("run_id", "keys"), [(None, set()), ("abc", {"mlflow-run"})])
def test_a_run_is_linked_if_there_is_one(
    run_id: str | None, keys: set[str], shown: dict[str, str], tmp_path: Path
) -> None:
    artifacts.show_stage("train", trained(tmp_path, {"run_id": run_id}))
    assert shown.keys() == keys
    assert all(link == "http://127.0.0.1:5000/#/runs/abc" for link in shown.values())


@pytest.mark.parametrize(
    ("name", "address"), [("MLFLOW_UI", "http://127.0.0.1:5317"), ("MLFLOW_TRACKING_URI", "https://mlflow.example/")]
)
def test_links_lead_to_where_mlflow_is_shown(
    name: str, address: str, shown: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`vilam ui` prints MLFLOW_UI for runs that are started in other terminals."""
    monkeypatch.setenv(name, address)
    artifacts.show_stage("train", trained(tmp_path, {"run_id": "abc"}))
    assert shown == {"mlflow-run": f"{address.rstrip('/')}/#/runs/abc"}


def test_the_worst_answers_of_each_task_are_shown(shown: dict[str, str], tmp_path: Path) -> None:
    gallery = trained(tmp_path, {"run_id": "abc"}) / "reports" / "gallery"
    gallery.mkdir(parents=True)
    for name in ("rec_box_worst_01", "rec_box_worst_03", "rec_box_best_01", "reg_class_worst_02"):
        (gallery / f"{name}.jpg").write_bytes(b"picture")
    artifacts.show_stage("evaluate", tmp_path)
    assert shown["report"] == "http://127.0.0.1:5000/get-artifact?path=report/index.html&run_uuid=abc"
    assert [line for line in shown["gallery"].splitlines() if line.startswith("#")] == [
        "### rec_box_worst_01",
        "### reg_class_worst_02",
    ]
    assert "data:image/jpeg;base64,cGljdHVyZQ==" in shown["gallery"]


def test_the_report_of_another_model_is_not_linked_to_this_run(shown: dict[str, str], tmp_path: Path) -> None:
    (trained(tmp_path, {"run_id": "abc"}) / "metrics").mkdir()
    (tmp_path / "metrics" / "evaluate.json").write_text(json.dumps({"other": {"rec_box/acc_0.5": 0.5}}))
    artifacts.show_stage("evaluate", tmp_path)
    assert shown.keys() == {"metrics-evaluate"}
