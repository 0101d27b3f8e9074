"""A data set as others can load it: Parquet that `datasets.load_dataset` opens, COCO JSON beside it, a card, checksums.

The folder holds

    README.md                   the card, with the two configurations that load_dataset knows: records and instructions
    records/SPLIT-*.parquet     image records, the pictures in them
    instructions/SPLIT.parquet  questions and answers, where there are such, each with where its words come from
    coco/instances_SPLIT.json   the regions once more in COCO's format, by file names that the pictures would have
    SHA256SUMS                  of all of these, written last: ``sha256sum -c SHA256SUMS``
"""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from vilam.data.coco_json import coco_content
from vilam.data.instructions import read_counts, read_table
from vilam.data.records import DatasetCard
from vilam.data.store import read_card, read_records
from vilam.files import checksum, replace_folder

SUMS = "SHA256SUMS"
LIMITS = """\
- Boxes, outlines and keypoints are as precise as their source, in pixels of the picture.
- Expressions of the source `rule` were written by rules from boxes and categories alone, those of `model` by a trained
  model that found its own words again (`expression_model`, `expression_confidence`, `expression_round_trip_iou`): they
  are not a person's, and may be wrong or odd.
- Each picture has the licence that its row names; the data set as a whole is as free as the least free of them.
"""


def publish(records: Path, instructions: Path, folder: Path) -> DatasetCard:
    """Write the data set of two folders that `prepare` and `synthesize` left; without instructions the records alone.

    Raises VilamError where the data set is not whole or the folder cannot be written; what was there stays until the
    new one is whole.
    """
    card = read_card(records)
    told = read_counts(instructions) if instructions.is_dir() else {}
    with replace_folder(folder) as made:
        _copy(records.glob("*.parquet"), made / "records")
        _copy((instructions / f"{split}.parquet" for split in told), made / "instructions")
        licences = Counter[str]()
        for split in card.splits:
            content = coco_content(card, read_records(records, split))
            licences.update(_licences(content))
            _write_json(made / "coco" / f"instances_{split}.json", content)
        sources = _sources(instructions) if told else {}
        (made / "README.md").write_text(_card(card, told, licences, sources), encoding="utf-8")
        files = sorted(path for path in made.rglob("*") if path.is_file())
        sums = "".join(f"{checksum(path)}  {path.relative_to(made).as_posix()}\n" for path in files)
        (made / SUMS).write_text(sums, encoding="utf-8")
    return card


def _licences(content: dict[str, list[dict[str, Any]]]) -> Counter[str]:
    names = {one["id"]: one["name"] for one in content["licenses"]}
    return Counter(names[image["license"]] for image in content["images"])


def _sources(instructions: Path) -> dict[str, int]:
    """How many expressions come from whom."""
    table = read_table(instructions)
    words = table[table["expression"] != ""].drop_duplicates(["image_id", "region_id", "expression"])
    return {str(name): int(count) for name, count in words["expression_source"].value_counts().items()}


def _copy(files: Iterator[Path], folder: Path) -> None:
    for path in files:
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, folder / path.name)


def _write_json(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")


def _card(card: DatasetCard, told: dict[str, dict[str, int]], licences: Counter[str], sources: dict[str, int]) -> str:
    """The card in the form that hubs read."""
    configs = [_config("records", {split: f"records/{split}-*.parquet" for split in card.splits}, True)]
    if told:
        configs.append(_config("instructions", {split: f"instructions/{split}.parquet" for split in told}, False))
    head = {"pretty_name": card.name, "task_categories": ["image-to-text", "object-detection"], "configs": configs}
    counts = card.counts
    rows = [
        f"| {split} | {counts[split]['num_images']:,} | {counts[split]['num_regions']:,} "
        f"| {counts[split]['num_expressions']:,} | {sum(told.get(split, {}).values()):,} |"
        for split in card.splits
    ]
    tasks = Counter[str]()
    for by_task in told.values():
        tasks.update(by_task)
    parts = [
        f"---\n{yaml.safe_dump(head, sort_keys=False).rstrip()}\n---",
        f"# {card.name}",
        "Regions of pictures (box, and where known outline, keypoints, category and expressions), and the questions "
        "and answers of grounding tasks about them. Made with vilam.",
        "\n".join(["| split | images | regions | expressions | instructions |", "|---|---:|---:|---:|---:|", *rows]),
        _listed("Instructions by task", tasks),
        _listed("Expressions in the instructions, by who wrote them", sources),
        _listed("Images by licence", licences),
        f"## Known limits\n\n{LIMITS.rstrip()}",
        f"`sha256sum -c {SUMS}` checks every file.",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _config(name: str, files: dict[str, str], is_default: bool) -> dict[str, Any]:
    data = [{"split": split, "path": path} for split, path in files.items()]
    return {"config_name": name, "data_files": data, **({"default": True} if is_default else {})}


def _listed(title: str, counts: dict[str, int]) -> str:
    lines = [f"- {name}: {count:,}" for name, count in sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))]
    return "\n".join([f"## {title}", "", *lines]) if lines else ""
