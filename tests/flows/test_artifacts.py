"""What a stage leaves is shown: its run in MLflow only where it has one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from flows import artifacts


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The links that were made."""
    made: list[str] = []
    monkeypatch.setattr(artifacts, "create_link_artifact", lambda key, link, link_text: made.append(f"{key} {link}"))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return made


@pytest.mark.parametrize(
    ("info", "links"),
    [
        ({"stage": "activate"}, []),
        ({"stage": "train", "run_id": None}, []),
        ({"stage": "train", "run_id": "abc"}, ["mlflow-run http://127.0.0.1:5000/#/runs/abc"]),
    ],
)
def test_a_run_is_linked_where_there_is_one(
    info: dict[str, str | None], links: list[str], shown: list[str], tmp_path: Path
) -> None:
    folder = tmp_path / "models" / "train"
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(json.dumps(info))
    artifacts.show_stage("train", tmp_path)
    assert shown == links
