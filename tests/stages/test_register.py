"""The stage from metrics and a model folder to a registered version and its aliases; the predictor is a fake."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow.exceptions import MlflowException
from mlflow.pyfunc.scoring_server import invocations
from PIL import Image

from vilam.commands.models import comparison, show_models
from vilam.config import Settings, load_settings
from vilam.data.card import write_card
from vilam.data.records import DatasetCard
from vilam.errors import VilamError
from vilam.inference import serving
from vilam.stages import register
from vilam.tracking.connection import connect
from vilam.tracking.registry import Version, download_model, versions
from vilam.tracking.runs import open_run


@dataclass(frozen=True)
class Answer:
    """An answer of the fake predictor."""

    text: str
    confidence: float
    box_xyxy: tuple[float, ...] | None = None


class Predictor:
    """A fake predictor that answers with its question."""

    @classmethod
    def from_pretrained(cls, folder: str) -> Predictor:
        """Accepts any folder with a config."""
        assert (Path(folder) / "config.json").is_file()
        return cls()

    def open_image(self, content: bytes) -> Image.Image:
        """The picture in a file."""
        return Image.open(io.BytesIO(content))

    def ask(self, image: Image.Image, questions: list[tuple[str, object]]) -> list[Answer]:
        """A box of the whole image for an expression, and a box as text."""
        whole = (0.0, 0.0, float(image.width), float(image.height))
        return [Answer(str(about), 0.75, whole if task == "locate" else None) for task, about in questions]


@pytest.fixture(autouse=True)
def fake_predictor(monkeypatch: pytest.MonkeyPatch) -> None:
    """Serving loads the fake predictor."""
    module = ModuleType("vilam.inference.predictor")
    vars(module).update(Predictor=Predictor, METHODS=("locate", "classify"))
    monkeypatch.setitem(sys.modules, "vilam.inference.predictor", module)


@pytest.fixture(scope="module")
def settings(project: Path) -> Settings:
    """The project's own settings."""
    return load_settings(project / "params.yaml")


@pytest.fixture
def root(tmp_path: Path, database: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A project folder with a trained model and its run."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mlruns").mkdir()
    (tmp_path / "mlruns" / "mlflow.db").write_bytes(database.read_bytes())
    (tmp_path / "models" / "train").mkdir(parents=True)
    (tmp_path / "models" / "train" / "config.json").write_text("{}")
    card = DatasetCard("scenes", ("circle",), {}, ("train", "test"), ("CC0",), {})
    for folder in (tmp_path / "data" / "records", tmp_path / "models" / "train"):
        write_card(card, folder)
    new_run(tmp_path)
    yield tmp_path
    assert mlflow.active_run() is None


def answers(primary: float, guard: float, data: str) -> pd.DataFrame:
    """50 answers to each of three tasks, of which these fractions are right; CIDEr is 10 times the guard."""
    ranks = (np.arange(50) + 0.5) / 50
    scores = {
        "rec_box": {"iou": (ranks < primary).astype(float)},
        "reg_class": {"correct": (ranks < guard).astype(float)},
        "reg_caption": {"cider": np.full(50, 10 * guard)},
    }
    common = {"region_id": "0", "split": "test", "truth": "circle", "answer": "circle", "invalid": False}
    common |= {"category": "circle", "expression_kind": "free", "expression_length": "1-2", "size": "small"}
    frames = [
        pd.DataFrame({"question_id": [f"{data} {task} {i}" for i in range(50)], "task": task, **common, **own}).assign(
            image_id=[f"{i // 5}" for i in range(50)], content_id=[f"{i // 5}" for i in range(50)], references=[()] * 50
        )
        for task, own in scores.items()
    ]
    return pd.concat(frames, ignore_index=True)


def evaluated(root: Path, settings: Settings, primary: float, guard: float = 0.9, data: str = "scenes") -> None:
    """Write the metrics and the answers of `evaluate`, and log the answers as it does."""
    names = settings.register_
    metrics = {names.primary: primary, f"{names.primary}_low": primary - 0.05, **dict.fromkeys(names.guards, guard)}
    (root / "metrics").mkdir(exist_ok=True)
    (root / "metrics" / "evaluate.json").write_text(json.dumps({"activate": {}, "train": metrics}))
    (root / "predictions").mkdir(exist_ok=True)
    answers(primary, guard, data).to_parquet(root / "predictions" / "train.parquet")
    run_id = json.loads((root / "models" / "train" / "run.json").read_text())["run_id"]
    with open_run(root, "evaluate", run_id) as tracker:
        tracker.log_artifacts(root / "predictions", "predictions")


def new_run(root: Path, params: dict[str, object] | None = None) -> None:
    """A run of another training, as `train` starts it."""
    with open_run(root, "train", params=params) as tracker:
        pass
    (root / "models" / "train" / "run.json").write_text(json.dumps({"run_id": tracker.run_id}))


def registered(root: Path) -> dict[str, object]:
    """The content of metrics/register.json."""
    content: dict[str, object] = json.loads((root / "metrics" / "register.json").read_text())
    return content


def test_champion_moves_only_through_the_gate(
    root: Path, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    champions = []
    for primary in (0.7, 0.68, 0.72):
        new_run(root)
        evaluated(root, settings, primary)
        register.run(settings, root)
        written = registered(root)
        champions.append(written["champion"])
        assert written["passed"] is (primary >= 0.7)
        assert written["reasons"]
    assert champions == [1, 1, 3]
    first, second, third = versions(root, settings.register_.model_name)
    assert (first.aliases, second.aliases, set(third.aliases)) == ((), (), {"champion", "challenger"})
    assert second.metrics[settings.register_.primary] == 0.68
    assert second.tags["gate"] == "failed"
    assert second.tags["trained_on"] == "scenes (circle)"
    assert second.tags["evaluated_on"] == "scenes (circle), test: 10 images"
    assert first.tags["test_data"] == second.tags["test_data"]
    assert third.run_id == json.loads((root / "models" / "train" / "run.json").read_text())["run_id"]
    capsys.readouterr()
    show_models(settings.register_, root)
    output = capsys.readouterr().out
    assert "challenger" in output
    assert "0.720" in output
    assert "scenes (circle), test: 10 images" in output


def test_a_run_that_is_registered_again_keeps_its_version(root: Path, settings: Settings) -> None:
    for primary in (0.7, 0.7, 0.5):
        evaluated(root, settings, primary)
        register.run(settings, root)
        assert registered(root)["version"] == 1
    (only,) = versions(root, settings.register_.model_name)
    assert only.metrics[settings.register_.primary] == 0.5
    assert set(only.aliases) == {"champion", "challenger"}


def test_numbers_of_other_test_data_are_never_compared(
    root: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """0.016 on the new data wins against a champion that has 0.7755 on the old and nothing on the new data."""
    evaluated(root, settings, 0.7755)
    register.run(settings, root)
    asked = []

    def ask(version: Version, *_: object) -> pd.DataFrame:
        asked.append(version.number)
        return answers({1: 0.0, 2: 0.016}[version.number], 0.0, "cells")

    monkeypatch.setattr(register, "_asked", ask)
    new_run(root)
    evaluated(root, settings, 0.02, 0.1, "cells")
    register.run(settings, root)
    assert asked == [1]
    assert registered(root)["champion"] == 2
    assert "0.02 above version 1" in " ".join(registered(root)["reasons"])  # type: ignore[arg-type]
    show_models(settings.register_, root)
    assert "Columns with different test data do not compare" in capsys.readouterr().out


def test_the_best_model_of_these_data_becomes_champion_if_the_champion_is_of_others(
    root: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    for data, primary in (("scenes", 0.7), ("cells", 0.3), ("scenes", 0.6)):
        monkeypatch.setattr(register, "_asked", lambda *_, data=data: answers(0.0, 0.0, data))
        new_run(root)
        evaluated(root, settings, primary, data=data)
        register.run(settings, root)
    assert registered(root) | {"run_id": "", "reasons": []} == {
        "run_id": "",
        "version": 3,
        "champion": 1,
        "passed": False,
        "reasons": [],
    }


@pytest.mark.parametrize(
    ("name", "text"),
    [("metrics/evaluate.json", "[1]"), ("models/train/run.json", "[]"), ("models/train/run.json", "{}")],
)
def test_a_file_of_the_wrong_shape_is_reported_in_one_line(
    root: Path, settings: Settings, name: str, text: str
) -> None:
    evaluated(root, settings, 0.7)
    (root / name).write_text(text)
    with pytest.raises(VilamError, match=rf"{name}: .*run `dvc repro") as caught:
        register.run(settings, root)
    assert "\n" not in str(caught.value)


def test_the_model_is_recovered_if_its_replacement_was_killed(root: Path, settings: Settings) -> None:
    evaluated(root, settings, 0.7)
    (root / "models" / "train").rename(root / "models" / ".train.old")
    register.run(settings, root)
    assert registered(root)["version"] == 1


def test_comparison_shows_only_parameters_that_differ(root: Path, settings: Settings) -> None:
    evaluated(root, settings, 0.7)
    for steps in (5, 6):
        new_run(root, {"seed": 1, "train": {"steps": steps}})
        evaluated(root, settings, 0.7)
        register.run(settings, root)
    rows = comparison(versions(root, "vilam"), settings.register_)
    assert rows["train.steps"] == ["5", "6"]
    assert "seed" not in rows
    assert rows["alias"][0] == ""


def test_a_registered_model_can_be_served_and_downloaded(root: Path, settings: Settings) -> None:
    evaluated(root, settings, 0.7)
    register.run(settings, root)
    assert (download_model("models:/vilam@champion", root) / "config.json").is_file()
    connect(root)
    loaded = mlflow.pyfunc.load_model("models:/vilam@champion")
    example = serving.input_example()
    answers = loaded.predict(example)
    assert answers.loc[0, "answer"] == "the red disc"
    assert json.loads(answers.loc[0, "details"])["box_xyxy"] == [0, 0, 96, 96]
    by_box = example.assign(task="classify", text=None, box=[[1, 2, 3.0, 4]])
    assert loaded.predict(by_box).loc[0, "answer"] == "[1, 2, 3.0, 4]"
    mixed = pd.concat([example, by_box, example.assign(task=None), example.assign(image=5)])
    answers = loaded.predict(mixed)
    assert answers["answer"].tolist() == ["the red disc", "[1, 2, 3.0, 4]", None, None]
    assert [bool(error) for error in answers["error"]] == [False, False, True, True]
    bad = json.dumps({"dataframe_records": [{"task": "sing"}, {"task": "locate", "text": "x", "image": "AAAA"}]})
    with pytest.raises(MlflowException) as refused:  # as the server replies it
        invocations(bad, "application/json", loaded, loaded.metadata.get_input_schema())
    reply = json.loads(refused.value.serialize_as_json())
    assert reply["message"].startswith("task 'sing': no such task") and "; image: not a PNG" in reply["message"]
    assert "stack_trace" not in reply and "\n" not in reply["message"]
    with pytest.raises(MlflowException, match=r"missing inputs \['task'\]"):
        loaded.predict(example.drop(columns="task"))


def test_missing_files_and_models_are_one_line(root: Path, settings: Settings) -> None:
    with pytest.raises(VilamError, match=r"evaluate\.json: not found"):
        register.run(settings, root)
    evaluated(root, settings, 0.7)
    (root / "metrics" / "evaluate.json").write_text('{"train": ')
    with pytest.raises(VilamError, match=r"evaluate\.json: broken"):
        register.run(settings, root)
    evaluated(root, settings, 0.7)
    (root / "models" / "train" / "config.json").unlink()
    with pytest.raises(VilamError, match="no model here"):
        register.run(settings, root)
    with pytest.raises(VilamError, match="no version of vilam is registered"):
        show_models(settings.register_, root)
    with pytest.raises(VilamError, match="no version of vilam is registered"):
        download_model("models:/vilam@champion", root)
