"""The stage from records on disk to instructions, counts and lengths."""

from __future__ import annotations

import errno
import json
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import toy

from vilam.config import Settings, load_settings
from vilam.data.instructions import read_counts, read_instructions
from vilam.data.records import DatasetCard, ImageRecord, Region
from vilam.data.scenes import CATEGORIES, generate_scene, keypoint_schemas
from vilam.data.store import write_dataset
from vilam.errors import VilamError
from vilam.stages import synthesize
from vilam.tasks import ACTIVATION, TASKS

PARAMS = Path(__file__).parents[2] / "params.yaml"
LENGTHS = {
    "rec_box": {4},
    "rec_mask": {54},
    "reg_class": {1},
}  # words of an answer: 4 numbers; "1 part:" and 2 x 26 numbers


@pytest.fixture(scope="module")
def settings() -> Settings:
    return load_settings(PARAMS)


def _scenes(root: Path, num_images: int = 6, described: bool = True) -> list[ImageRecord]:
    records = [generate_scene(5, i, ("train", "test")[i % 2], 64) for i in range(num_images)]
    if not described:
        records = [replace(one, regions=tuple(replace(r, expressions=()) for r in one.regions)) for one in records]
    _write(root, records)
    return records


def _write(root: Path, records: list[ImageRecord]) -> None:
    card = DatasetCard("scenes", tuple(CATEGORIES), keypoint_schemas(), ("train", "test"), ("CC0-1.0",), {})
    write_dataset(records, card, root / "data" / "records", 100)


def test_every_task_has_instructions_for_every_region(tmp_path, settings):
    records = _scenes(tmp_path)
    synthesize.run(settings, tmp_path)
    found = [one for split in ("train", "test") for one in read_instructions(tmp_path / "data" / "instructions", split)]
    assert len({one.instruction_id for one in found}) == len(found)
    regions = {(record.image_id, region.region_id): region for record in records for region in record.regions}
    for task in [*TASKS, ACTIVATION.name]:
        count = Counter((one.image_id, one.region_id) for one in found if one.task == task)
        several = task in ("rec_box", "reg_caption", "activation")
        expected = {key: min(3, len(region.expressions)) if several else 1 for key, region in regions.items()}
        assert count == expected, task
    images = [one.image_id for one in found]
    assert images == sorted(images, key=images.index)  # those of an image are together


def test_counts_lengths_and_metrics_agree_with_the_instructions(tmp_path, settings):
    _scenes(tmp_path)
    synthesize.run(settings, tmp_path)
    found = list(read_instructions(tmp_path / "data" / "instructions", "train"))
    counts = pd.read_csv(tmp_path / "metrics" / "plots" / "synthesize_counts.csv")
    metrics = json.loads((tmp_path / "metrics" / "synthesize.json").read_text(encoding="utf-8"))
    for task, count in Counter(one.task for one in found).items():
        assert counts.query("task == @task and split == 'train'")["count"].tolist() == [count]
        assert metrics["num_instructions"][task]["train"] == count
    assert metrics["described"] == {"train": {"generated": 1.0}, "test": {"generated": 1.0}}
    regions = {(one.image_id, one.region_id) for one in found}
    assert metrics["num_regions"]["train"] == len(regions)
    lengths = pd.read_csv(tmp_path / "metrics" / "plots" / "synthesize_lengths.csv")
    assert lengths["count"].sum() == counts["count"].sum()
    num_words = lengths.groupby("task")["num_words"].agg(set)
    assert all(words <= num_words[task] for task, words in LENGTHS.items())
    assert num_words["rec_box"] == LENGTHS["rec_box"]


def test_a_second_run_writes_the_same_bytes(tmp_path, settings):
    _scenes(tmp_path)
    paths = ("data/instructions/train.parquet", "data/instructions/manifest.json", "metrics/synthesize.json")
    synthesize.run(settings, tmp_path)
    first = [(tmp_path / path).read_bytes() for path in paths]
    synthesize.run(settings, tmp_path)
    assert [(tmp_path / path).read_bytes() for path in paths] == first


def test_regions_without_expressions_get_rule_expressions(tmp_path, settings):
    _scenes(tmp_path, described=False)
    synthesize.run(settings, tmp_path)
    found = list(read_instructions(tmp_path / "data" / "instructions", "train", tasks={"rec_box"}))
    assert found and {one.expression_source for one in found} == {"rule"}
    metrics = json.loads((tmp_path / "metrics" / "synthesize.json").read_text(encoding="utf-8"))
    for fractions in metrics["described"].values():
        assert fractions["rule"] + fractions.get("none", 0) == pytest.approx(1, abs=1e-3)


def test_missing_and_broken_records_are_reported(tmp_path, settings):
    with pytest.raises(VilamError, match="run prepare"):
        synthesize.run(settings, tmp_path)
    _scenes(tmp_path)
    synthesize.run(settings, tmp_path)
    shard = next((tmp_path / "data" / "records").glob("train-*.parquet"))
    shard.write_bytes(shard.read_bytes()[:-30])
    with pytest.raises(VilamError, match="run prepare"):
        synthesize.run(settings, tmp_path)
    assert list(read_instructions(tmp_path / "data" / "instructions", "test"))  # the old ones are still complete


def test_records_without_anything_to_ask_about_are_reported(tmp_path, settings):
    bare = ImageRecord("a", "train", b"x", 10, 10, "toy", "CC0-1.0")
    _write(tmp_path, [bare, replace(bare, image_id="b", split="test")])
    with pytest.raises(VilamError, match="no region to ask about"):
        synthesize.run(settings, tmp_path)
    assert not (tmp_path / "data" / "instructions").exists()


def test_train_may_be_empty_if_another_model_is_evaluated(tmp_path, settings):
    bare = ImageRecord("a", "train", b"x", 10, 10, "toy", "CC0-1.0")
    other = replace(bare, image_id="b", split="test", regions=(Region("r", (0.0, 0.0, 5.0, 5.0), "circle"),))
    _write(tmp_path, [bare, other])
    synthesize.run(settings, tmp_path)
    assert {*read_counts(tmp_path / "data" / "instructions")} == {"test"}


def test_data_without_a_split_train_are_accepted(tmp_path, settings):
    record = generate_scene(5, 1, "test", 64)
    card = DatasetCard("scenes", tuple(CATEGORIES), keypoint_schemas(), ("test",), ("CC0-1.0",), {})
    write_dataset([record], card, tmp_path / "data" / "records", 9)
    synthesize.run(settings, tmp_path)
    assert {each.split for each in read_instructions(tmp_path / "data" / "instructions", "test")} == {"test"}


def test_a_full_disk_is_one_line(tmp_path, settings, monkeypatch):
    _scenes(tmp_path)

    def full(*_args, **_kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(VilamError, match="No space left on device") as caught:
        synthesize.run(settings, tmp_path)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "data" / "instructions").exists()


def _changed(settings: Settings, **changes: object) -> Settings:
    return settings.model_copy(update={"synthesize": settings.synthesize.model_copy(update=changes)})


def test_without_a_teacher_no_model_is_loaded_and_the_histogram_is_empty(tmp_path, project):
    _scenes(tmp_path)
    code = (
        "import sys; from pathlib import Path; from vilam.config import load_settings; "
        "from vilam.stages import synthesize; synthesize.run(load_settings(Path(sys.argv[1])), Path(sys.argv[2])); "
        "print(' '.join({'torch', 'transformers', 'mlflow'} & set(sys.modules)))"
    )
    command = [sys.executable, "-c", code, str(PARAMS), str(tmp_path)]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
    table = pd.read_csv(tmp_path / "metrics" / "plots" / "synthesize_round_trip.csv")
    assert list(table.columns) == ["iou", "num_samples", "num_accepted"] and table.empty
    metrics = json.loads((tmp_path / "metrics" / "synthesize.json").read_text(encoding="utf-8"))
    assert metrics["teacher"]["model"] == "" and metrics["teacher"]["num_regions"] == 0


def test_a_fraction_of_the_training_regions_and_all_held_out_ones_keep_expressions(tmp_path, settings):
    _scenes(tmp_path, 20)
    synthesize.run(_changed(settings, described_fraction=0.3), tmp_path)
    described = json.loads((tmp_path / "metrics" / "synthesize.json").read_text(encoding="utf-8"))["described"]
    assert described["test"] == {"generated": 1.0} and 0.1 < described["train"]["generated"] < 0.5
    assert described["train"]["generated"] + described["train"]["none"] == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize(
    ("teacher", "line"),
    [
        ("nowhere", "no model in .*nowhere: name a model folder"),
        ("models:/nobody@champion", "no version of nobody is registered here: run `dvc repro` first"),
        ("models:/nobody/7", "no version of nobody is registered here: run `dvc repro` first"),
    ],
)
def test_a_missing_teacher_changes_nothing(tmp_path, settings, database, monkeypatch, teacher, line):
    monkeypatch.setenv("VILAM_MLRUNS", str(database.parent))
    _scenes(tmp_path)
    synthesize.run(settings, tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    for processes in (1, 2):  # reported before processes are started
        with pytest.raises(VilamError, match=f"^synthesize.teacher {teacher}: .*{line}") as caught:
            synthesize.run(_changed(settings, teacher=teacher, processes=processes), tmp_path)
        assert "\n" not in str(caught.value)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def _rows(project: Path) -> pd.DataFrame:
    return pd.concat(
        pd.read_parquet(project / "data" / "instructions" / f"{split}.parquet") for split in ("train", "val", "test")
    )


def test_the_champion_describes_regions_and_its_version_is_recorded(projects):
    """The registered model of ``whole`` (see tests/runs.py), by its alias; the rows hold its version."""
    rows = _rows(projects / "taught1")
    generated = rows[rows["expression_source"] == "model"]
    assert set(generated["task"]) >= {"rec_box", "reg_caption", "activation"} and set(generated["split"]) == {"train"}
    assert set(generated["expression_model"]) == {"models:/vilam/1"}
    assert generated["expression_round_trip_iou"].between(toy.TAUGHT["synthesize__min_iou"], 1).all()
    assert generated["expression_confidence"].between(0, 1).all()
    assert all(
        text in question
        for text, question in generated.loc[generated["task"] == "rec_box", ["expression", "question"]].values
    )
    others = rows[rows["expression_source"] != "model"]
    assert set(others["expression_model"]) == {""} and others["expression_round_trip_iou"].isna().all()


def test_described_regions_keep_their_own_expressions(projects):
    rows = _rows(projects / "taught1")
    sources = rows[rows["expression_source"] != ""].groupby(["split", "image_id", "region_id"])["expression_source"]
    assert (sources.nunique() == 1).all() and set(sources.first()) == {"generated", "model"}
    assert not (rows[rows["split"] != "train"]["expression_source"] == "model").any()


def test_the_tally_agrees_with_the_rows(projects):
    project = projects / "taught1"
    metrics = json.loads((project / "metrics" / "synthesize.json").read_text(encoding="utf-8"))
    table = pd.read_csv(project / "metrics" / "plots" / "synthesize_round_trip.csv")
    rows = _rows(project)
    generated = rows[(rows["expression_source"] == "model") & (rows["task"] == "rec_box")]
    teacher = metrics["teacher"]
    assert teacher["model"] == "models:/vilam/1" and teacher["num_expressions"] == len(generated) > 0
    assert len(table) == 10 and teacher["num_samples"] == table["num_samples"].sum() == 4 * teacher["num_regions"]
    assert teacher["accepted_samples"] == pytest.approx(table["num_accepted"].sum() / teacher["num_samples"], abs=1e-4)
    described = generated.groupby(["image_id", "region_id"]).ngroups
    assert teacher["described_regions"] == pytest.approx(described / teacher["num_regions"], abs=1e-4)
    fractions = metrics["described"]["train"]
    assert fractions["model"] == pytest.approx(described / metrics["num_regions"]["train"], abs=1e-4)


def test_two_processes_write_the_same_files_as_one(projects):
    for path in ("data/instructions/train.parquet", "data/instructions/manifest.json", "metrics/synthesize.json"):
        assert (projects / "taught1" / path).read_bytes() == (projects / "taught2" / path).read_bytes()


def test_the_generated_instructions_can_be_trained_on(projects):
    metrics = json.loads((projects / "taught1" / "metrics" / "train.json").read_text(encoding="utf-8"))
    assert metrics["steps"] == 2 and metrics["val_loss"] > 0
