"""The stage from metrics and a model folder to a registered version and its aliases; the predictor is a fake."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import mlflow
import pytest
from PIL import Image

from vilam.commands.models import comparison, show_models
from vilam.config import Settings, load_settings
from vilam.errors import VilamError
from vilam.inference import serving
from vilam.stages import register
from vilam.tracking.connection import connect
from vilam.tracking.registry import download_model, versions
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

    def locate(self, image: Image.Image, text: str) -> Answer:
        """A box of the whole image."""
        return Answer(text, 0.75, (0.0, 0.0, float(image.width), float(image.height)))

    def classify(self, image: Image.Image, box: tuple[float, ...]) -> Answer:
        """The box as text."""
        return Answer(str(box), 0.5)


@pytest.fixture(autouse=True)
def fake_predictor(monkeypatch: pytest.MonkeyPatch) -> None:
    """Serving loads the fake predictor."""
    module = ModuleType("vilam.inference.predictor")
    vars(module)["Predictor"] = Predictor
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
    with open_run(tmp_path, "train") as tracker:
        pass
    (tmp_path / "models" / "train" / "run.json").write_text(json.dumps({"run_id": tracker.run_id}))
    yield tmp_path
    assert mlflow.active_run() is None


def evaluated(root: Path, settings: Settings, primary: float, guard: float = 0.9) -> None:
    """Write the metrics file of `evaluate`."""
    names = settings.register_
    metrics = {names.primary: primary, f"{names.primary}_low": primary - 0.05, **dict.fromkeys(names.guards, guard)}
    (root / "metrics").mkdir(exist_ok=True)
    (root / "metrics" / "evaluate.json").write_text(json.dumps({"activate": {}, "train": metrics}))


def registered(root: Path) -> dict[str, object]:
    """The content of metrics/register.json."""
    content: dict[str, object] = json.loads((root / "metrics" / "register.json").read_text())
    return content


def test_champion_moves_only_through_the_gate(
    root: Path, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    for primary in (0.7, 0.5, 0.68):
        evaluated(root, settings, primary)
        register.run(settings, root)
        written = registered(root)
        assert written["passed"] is (primary > 0.6)
        assert written["champion"] == (1 if primary == 0.5 else written["version"])
        assert written["reasons"]
    first, second, third = versions(root, settings.register_.model_name)
    assert (first.aliases, second.aliases, set(third.aliases)) == ((), (), {"champion", "challenger"})
    assert second.metrics[settings.register_.primary] == 0.5
    assert second.tags["gate"] == "failed"
    assert first.run_id == json.loads((root / "models" / "train" / "run.json").read_text())["run_id"]
    capsys.readouterr()
    show_models(settings.register_, root)
    output = capsys.readouterr().out
    assert "challenger" in output
    assert "0.680" in output


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
        with open_run(root, "train", params={"seed": 1, "train": {"steps": steps}}) as tracker:
            pass
        (root / "models" / "train" / "run.json").write_text(json.dumps({"run_id": tracker.run_id}))
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
    assert loaded.predict(by_box).loc[0, "answer"] == "(1.0, 2.0, 3.0, 4.0)"


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"task": "sing"}, "no such task"),
        ({"text": None}, "needs the column text"),
        ({"image": "AAAA"}, "not a PNG"),
        ({"task": "classify"}, "column box"),
        ({"task": "describe", "box": "1 2"}, "expected"),
    ],
)
def test_an_invalid_question_is_one_line(change: dict[str, object], line: str) -> None:
    with pytest.raises(VilamError, match=line):
        serving.Served(Predictor()).predict(serving.input_example().assign(**change))  # type: ignore[arg-type]


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
