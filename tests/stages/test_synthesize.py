"""The stage from records on disk to instructions, counts and lengths."""

import errno
import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from vilam.config import Settings, load_settings
from vilam.data.instructions import read_instructions
from vilam.data.records import DatasetCard, ImageRecord, Region
from vilam.data.scenes import CATEGORIES, generate_scene, keypoint_schemas
from vilam.data.store import write_dataset
from vilam.errors import VilamError
from vilam.stages import synthesize
from vilam.tasks import ACTIVATION, TASKS

PARAMS = Path(__file__).parents[2] / "params.yaml"
LENGTHS = {"rec_box": {4}, "rec_mask": {54}, "reg_class": {1}}  # words of an answer: 4 numbers; "1 part:" and 2 x 26


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


def test_every_region_is_asked_about_by_every_task(tmp_path, settings):
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
    assert images == sorted(images, key=images.index)  # those of an image stand side by side


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


def test_regions_that_nobody_described_get_rule_expressions(tmp_path, settings):
    _scenes(tmp_path, described=False)
    synthesize.run(settings, tmp_path)
    found = list(read_instructions(tmp_path / "data" / "instructions", "train", tasks={"rec_box"}))
    assert found and {one.expression_source for one in found} == {"rule"}
    metrics = json.loads((tmp_path / "metrics" / "synthesize.json").read_text(encoding="utf-8"))
    for shares in metrics["described"].values():
        assert shares["rule"] + shares.get("none", 0) == pytest.approx(1, abs=1e-3)


def test_missing_and_broken_records_are_told_in_one_line(tmp_path, settings):
    with pytest.raises(VilamError, match="run prepare"):
        synthesize.run(settings, tmp_path)
    _scenes(tmp_path)
    synthesize.run(settings, tmp_path)
    shard = next((tmp_path / "data" / "records").glob("train-*.parquet"))
    shard.write_bytes(shard.read_bytes()[:-30])
    with pytest.raises(VilamError, match="run prepare"):
        synthesize.run(settings, tmp_path)
    assert list(read_instructions(tmp_path / "data" / "instructions", "test"))  # the old ones are still whole


def test_nothing_to_train_on_is_told_in_one_line(tmp_path, settings):
    bare = ImageRecord("a", "train", b"x", 10, 10, "toy", "CC0-1.0")
    other = replace(bare, image_id="b", split="test", regions=(Region("r", (0.0, 0.0, 5.0, 5.0), "circle"),))
    _write(tmp_path, [bare, other])
    with pytest.raises(VilamError, match="no region to ask about in the split train"):
        synthesize.run(settings, tmp_path)
    assert not (tmp_path / "data" / "instructions").exists()


def test_a_full_disk_is_told_in_one_line(tmp_path, settings, monkeypatch):
    _scenes(tmp_path)

    def full(*_args, **_kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(VilamError, match="No space left on device") as caught:
        synthesize.run(settings, tmp_path)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "data" / "instructions").exists()
