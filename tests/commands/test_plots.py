"""`vilam plots` on a small project: what a reader reads off each plot is what was measured."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
from drawn import Panel, panels
from PIL import Image

from vilam.commands.plots import plots, specifications
from vilam.config import load_settings
from vilam.data.records import DatasetCard
from vilam.data.scenes import CATEGORIES, generate_scene, keypoint_schemas
from vilam.data.store import write_dataset
from vilam.errors import VilamError
from vilam.evaluation import plots as tables
from vilam.evaluation.charts import library
from vilam.layout import Layout
from vilam.stages import synthesize
from vilam.stages.phase import write_history
from vilam.training.loop import History

PHASES = {"activate": "after activate", "train": "after train"}
METRICS = {
    "activate": {"rec_box/acc_0.5": 0.25, "rec_box/miou": 0.5, "reg_caption/cider": 0.5, "reg_caption/num_words": 5.0},
    "train": {"rec_box/acc_0.5": 0.75, "rec_box/miou": 0.625, "reg_caption/cider": 2.5, "reg_caption/num_words": 3.0},
}
RATES = ("rec_box/acc_0.5", "rec_box/miou")
INTERVAL = 0.05
IOUS = {"activate": (0.9, 0.2, 0.1, 0.6), "train": (0.96, 0.3, 0.7, 0.52)}
"""Of four boxes, the most confident first."""
KINDS = ("relation", "order", "order", "relation")
SIZES = ("small", "large", "medium", "large")
LOSSES = {"activate": {20: 9.0, 40: 8.5}, "train": {20: 9.5, 40: 8.25, 60: 8.0}}
NO_TEACHER = {"synthesize_round_trip"}


def write_tables(root: Path, settings: Path, more: float = 0.0) -> None:
    """What the stages write; ``more`` is added to every metric."""
    for phase, losses in LOSSES.items():
        history = History()
        for step, loss in losses.items():
            history.add(step, {"loss": loss + more, "learning_rate": 0.002})
            if phase == "train":
                history.add(step + 1, {"cycle_iou": step / 100})  # the cycle's refresh has no loss
        history.add(step, {"val_loss": 1.5})
        write_history(history, phase, Layout(root))
    for name, table in tables.plots({phase: evaluation(phase, more) for phase in PHASES}).items():  # type: ignore[misc]
        table.to_csv(Layout(root).plot(name), index=False)
    records = [generate_scene(5, i, ("test", "train")[i % 2], 64) for i in range(4)]
    card = DatasetCard("scenes", tuple(CATEGORIES), keypoint_schemas(), ("train", "test"), ("CC0-1.0",), {})
    write_dataset(records, card, root / "data" / "records", 100)
    synthesize.run(load_settings(settings), root)


def evaluation(phase: str, more: float) -> Any:
    """The metrics and the rows of the boxes after a phase."""
    metrics = {name: value + more for name, value in METRICS[phase].items()}
    ends = {
        f"{name}_{end}": metrics[name] + way for name in RATES for end, way in (("low", -INTERVAL), ("high", INTERVAL))
    }
    columns = {"iou": IOUS[phase], "expression_kind": KINDS, "size": SIZES}
    rows = pd.DataFrame({"task": "rec_box", "confidence": (0.9, 0.8, 0.7, 0.6), **columns})
    return SimpleNamespace(metrics=metrics | ends, rows=rows)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory, project: Path) -> Path:
    """A repository with two versions of the tables: HEAD, and the working tree with a tenth more."""
    root = tmp_path_factory.mktemp("project")
    shutil.copytree(project / ".dvc" / "plots", root / ".dvc" / "plots")
    for name in (".dvc/config", ".gitignore", "dvc.yaml", "params.yaml"):
        shutil.copy(project / name, root / name)
    write_tables(root, project / "params.yaml")
    git = ["git", "-c", "user.name=nobody", "-c", "user.email=nobody@example.org"]
    for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "first"]):
        subprocess.run([*git, *words], cwd=root, check=True)
    return root


@pytest.fixture(scope="module")
def page(root: Path) -> str:
    """The page that `vilam plots` writes, with pictures beside it."""
    plots(root, images=root / "images")
    return (root / "dvc_plots" / "index.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def specs(page: str) -> dict[str, Any]:
    """The specifications in the page, by name."""
    (found,) = re.findall(r"Object\.entries\((\{.*\})\)\)", page)
    content: dict[str, Any] = json.loads(found)
    return content


def only(spec: Mapping[str, Any]) -> Panel:
    (panel,) = panels(dict(spec)).values()
    return panel


def bars(panel: Panel) -> dict[tuple[str, str], float]:
    """The ends of the bars by category and phase; fails if one has two bars, or a bar that does not start at 0."""
    found: dict[tuple[str, str], float] = {}
    for bar in panel.marks["rect"]:
        key = panel.y.name(bar["y"] + bar["height"] / 2), panel.legends["model"].name(bar)
        assert key not in found and panel.x.number(bar["x"]) == pytest.approx(0)
        found[key] = panel.x.number(bar["x"] + bar["width"])
    return found


def lines(panel: Panel, legend: str) -> dict[str, list[tuple[float, float]]]:
    """The points of the lines by their label."""
    found: dict[str, list[tuple[float, float]]] = {}
    for point in panel.marks["line"]:
        read = panel.x.number(point["x"]), panel.y.number(point["y"])
        found.setdefault(panel.legends[legend].name(point), []).append(read)
    return found


def steps(panel: Panel) -> list[float]:
    return [panel.y.number(point["y"]) for point in panel.marks["symbol"]]


def hits(phase: str, chosen: tuple[str, ...] = KINDS, group: str | None = None) -> float:
    """The fraction of boxes with an IoU of 0.5, of a group or all."""
    of_group = [iou >= 0.5 for iou, name in zip(IOUS[phase], chosen, strict=True) if group in (None, name)]
    return sum(of_group) / len(of_group)


def test_every_table_with_rows_is_drawn(root, specs):
    written = {file.stem for file in (root / "metrics" / "plots").glob("*.csv")}
    assert specs.keys() == written - NO_TEACHER
    assert written > NO_TEACHER


def test_a_bar_is_the_rate_of_one_phase(specs):
    expected = {(name, title): METRICS[phase][name] for name in RATES for phase, title in PHASES.items()}
    panel = only(specs["evaluate_rates"])
    assert bars(panel) == pytest.approx(expected)  # without CIDEr and numbers of words
    assert panel.x.labels[0][1] == "0.0" and panel.x.labels[-1][1] == "1.0"
    ends = [[panel.x.number(rule[end]) for end in ("x", "x2")] for rule in panel.marks["rule"]]
    assert ends == [pytest.approx([value - INTERVAL, value + INTERVAL]) for value in expected.values()]
    assert [text["text"] for text in panel.marks["text"]] == [f"{value:.3f}" for value in expected.values()]


def test_cider_has_an_axis_of_its_own(specs):
    name = "reg_caption/cider"
    expected = {(name, title): METRICS[phase][name] for phase, title in PHASES.items()}
    assert bars(only(specs["evaluate_cider"])) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("name", "of_boxes", "groups"),
    [("evaluate_kinds", KINDS, ["order", "relation"]), ("evaluate_sizes", SIZES, ["small", "medium", "large"])],
)
def test_a_bar_is_the_accuracy_of_a_group_of_boxes(specs, name, of_boxes, groups):
    panel = only(specs[name])
    assert [label for _, label in panel.y.labels] == groups  # from top to bottom
    expected = {(group, title): hits(phase, of_boxes, group) for group in groups for phase, title in PHASES.items()}
    assert bars(panel) == pytest.approx(expected)


def test_lines_are_the_accuracy_by_threshold(specs):
    thresholds = [0.5 + i / 20 for i in range(10)]
    for phase, title in PHASES.items():
        expected = [(each, sum(iou >= each - 1e-9 for iou in IOUS[phase]) / 4) for each in thresholds]
        assert lines(only(specs["evaluate_iou"]), "model")[title] == [pytest.approx(point) for point in expected]


def test_lines_are_the_accuracy_of_the_most_confident(specs):
    for phase, title in PHASES.items():
        found = lines(only(specs["evaluate_coverage"]), "model")[title]
        assert [x for x, _ in found] == pytest.approx([i / 10 for i in range(1, 11)])
        most = [IOUS[phase][: -(-count * 4 // 10)] for count in range(1, 11)]
        assert [y for _, y in found] == pytest.approx([sum(iou >= 0.5 for iou in each) / len(each) for each in most])


@pytest.mark.parametrize("phase", PHASES)
def test_the_loss_has_a_point_for_each_measurement_and_no_other(specs, phase):
    found = panels(specs[f"{phase}_loss"])
    assert list(found) == ["loss", "learning_rate"]
    assert steps(found["loss"]) == pytest.approx([*LOSSES[phase].values()])
    assert [found["loss"].x.number(point["x"]) for point in found["loss"].marks["symbol"]] == [*LOSSES[phase]]
    assert steps(found["learning_rate"]) == pytest.approx([0.002] * len(LOSSES[phase]))
    assert steps(panels(specs[f"{phase}_validation"])["val_loss"]) == [1.5]


def test_the_cycle_has_a_plot_of_its_own(specs):
    panel = panels(specs["train_cycle"])["cycle_iou"]
    points = [(panel.x.number(point["x"]), panel.y.number(point["y"])) for point in panel.marks["symbol"]]
    assert points == [pytest.approx(point) for point in ((21, 0.2), (41, 0.4), (61, 0.6))]


def test_a_bar_counts_the_instructions_of_a_split(root, specs):
    found = panels(specs["synthesize_counts"])
    assert list(found) == ["train", "test"]
    table = pd.read_csv(root / "metrics" / "plots" / "synthesize_counts.csv")
    for split, panel in found.items():
        expected = table[table["split"] == split].set_index("task")["count"].to_dict()
        read = {panel.y.name(bar["y"] + bar["height"] / 2): panel.x.number(bar["width"]) for bar in panel.marks["rect"]}
        assert read == pytest.approx(expected)


def test_a_bar_counts_the_answers_of_a_length(root, specs):
    table = pd.read_csv(root / "metrics" / "plots" / "synthesize_lengths.csv")
    found = panels(specs["synthesize_lengths"])
    assert found.keys() == {*table["task"]}
    for task, panel in found.items():
        expected = table[table["task"] == task].set_index("num_words")["count"].to_dict()
        read = {int(panel.x.name(bar["x"] + bar["width"] / 2)): panel.y.number(bar["y"]) for bar in panel.marks["rect"]}
        assert read == pytest.approx(expected)
        assert [*read] == sorted(read)  # by number, not by text


def test_a_teachers_expressions_are_drawn(root, specs, tmp_path):
    """The accepted ones as a dark part of all, not in addition to them."""
    table = pd.DataFrame({"iou": ["0.4-0.5", "0.5-0.6"], "num_samples": [8, 4], "num_accepted": [0, 3]})
    path = root / "metrics" / "plots" / "synthesize_round_trip.csv"
    before = path.read_text()
    table.to_csv(path, index=False)
    try:
        panel = only(specifications(root)["synthesize_round_trip"])
    finally:
        path.write_text(before)
    found = [
        (panel.y.name(bar["y"] + bar["height"] / 2), bar.get("opacity", 1), panel.x.number(bar["width"]))
        for bar in panel.marks["rect"]
    ]
    assert found == [("0.4-0.5", 0.4, 8), ("0.5-0.6", 0.4, 4), ("0.4-0.5", 1, 0), ("0.5-0.6", 1, 3)]


def test_revisions_are_told_apart(root, project):
    write_tables(root, project / "params.yaml", more=0.1)
    specs = specifications(root, ["HEAD"])
    write_tables(root, project / "params.yaml")
    panel = only(specs["evaluate_rates"])
    read = {
        (
            panel.y.name(bar["y"] + bar["height"] / 2),
            panel.legends["model"].name(bar),
            panel.legends["rev"].name(bar),
        ): panel.x.number(bar["width"])
        for bar in panel.marks["rect"]
    }
    assert read == pytest.approx(
        {
            (name, title, revision): METRICS[phase][name] + more
            for name in RATES
            for phase, title in PHASES.items()
            for revision, more in (("HEAD", 0.0), ("workspace", 0.1))
        }
    )
    assert len({(bar["y"], bar["height"]) for bar in panel.marks["rect"]}) == len(read)  # none hides another
    losses = panels(specs["train_loss"])["loss"]
    for revision, more in (("HEAD", 0.0), ("workspace", 0.1)):
        of_revision = [point for point in losses.marks["symbol"] if losses.legends["rev"].name(point) == revision]
        assert [losses.y.number(point["y"]) for point in of_revision] == pytest.approx(
            [loss + more for loss in LOSSES["train"].values()]
        )


def test_the_page_loads_nothing(page):
    assert page.count(library()) == 1
    assert not re.search(r"\b(src|href|import|url|fetch)\b", page.replace(library(), ""))
    assert "</script" not in library()


def test_there_is_a_picture_of_each_plot(root, specs):
    pictures = {file.stem: Image.open(file).size for file in (root / "images").glob("*.png")}
    assert pictures.keys() == specs.keys()
    assert all(width > 300 and height > 100 for width, height in pictures.values())


def test_without_tables_one_line_says_what_to_do(tmp_path, project):
    for name in ("dvc.yaml", "params.yaml"):
        shutil.copy(project / name, tmp_path)
    shutil.copytree(project / ".dvc" / "plots", tmp_path / ".dvc" / "plots")
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    with pytest.raises(VilamError, match=r"no tables to draw: run `dvc repro` first"):
        specifications(tmp_path)


def test_an_unknown_revision_is_named(root):
    with pytest.raises(VilamError, match=r"plots: .*nowhere") as error:
        specifications(root, ["nowhere"])
    assert "\n" not in str(error.value)
