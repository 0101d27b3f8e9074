"""``vilam publish``: a data set for others, as Parquet for `datasets.load_dataset`, COCO JSON, a card, and checksums.

The folder holds

    README.md                   the card, with two configurations for load_dataset: records and instructions
    records/SPLIT-*.parquet     image records, with the images inside
    instructions/SPLIT.parquet  questions and answers, if there are any, with the provenance of their expressions
    coco/instances_SPLIT.json   the regions in COCO's format, with file names that are derived from the image ids
    yolo/, ms_swift/, ...       the formats that are asked for, each with a copy of the images: vilam/data/writers
    SHA256SUMS                  checksums of all files, written last: ``sha256sum -c SHA256SUMS``
"""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from vilam.data.card import read_card
from vilam.data.coco_json import coco_content
from vilam.data.instructions import read_counts, read_table
from vilam.data.records import DatasetCard
from vilam.data.store import read_records
from vilam.data.writers import WRITERS
from vilam.errors import VilamError
from vilam.files import checksum, recover, replace_folder

SUMS = "SHA256SUMS"
FORMATS: dict[str, str] = {
    "labelstudio": "Label Studio: set up a project with config.xml, serve the folder as local files (images/ is its "
    "source storage), and import the tasks of SPLIT.json.",
    "ms_swift": "ms-swift: `--dataset SPLIT.jsonl`, started in the folder, since paths of images are relative to it.",
    "odvg": "MM-Grounding-DINO, Open-GroundingDINO: SPLIT_od.jsonl with label_map.json for detection, SPLIT_vg.jsonl "
    "for phrases; images/ is the image root.",
    "yolo": "Ultralytics YOLO: `data=data.yaml`; keypoints or outlines where objects have them, else boxes.",
}
"""How each of the other formats is used, for the card."""
LIMITS = """\
- Boxes, polygons and keypoints are as precise as their source, in pixels of the image.
- Expressions of the source `rule` were written by rules from boxes and categories alone, those of `model` by a trained
  model that found the region of its own expression again (`expression_model`, `expression_confidence`,
  `expression_round_trip_iou`): no person wrote or checked them, and they may be wrong or odd.
- Each image has the licence that its row names; the most restrictive of them applies to the data set as a whole.
"""


def publish(records: Path, instructions: Path, folder: Path, formats: Sequence[str] = ()) -> DatasetCard:
    """Write the data set that `prepare` and `synthesize` made; only the records if there are no instructions.

    formats: in which it is written besides, each into a folder of its name. A data set that was published before is
    replaced when the new one is complete; any other folder with something in it is refused. Raises VilamError if a
    format is unknown, the data set is not complete or the folder cannot be written.
    """
    if unknown := set(formats) - WRITERS.keys():
        raise VilamError(f"--format {min(unknown)}: choose from {', '.join(WRITERS)}")
    if folder.is_dir() and not (folder / SUMS).is_file() and any(folder.iterdir()):
        raise VilamError(f"{folder}: exists and holds something else: name a new folder")
    card = read_card(records)
    recover(instructions)
    counts = read_counts(instructions) if instructions.is_dir() else {}
    with replace_folder(folder) as made:
        _copy(records.glob("*.parquet"), made / "records")
        _copy((instructions / f"{split}.parquet" for split in counts), made / "instructions")
        licences = Counter[str]()
        for split in card.splits:
            content = coco_content(card, read_records(records, split))
            licences.update(_licences(content))
            coco = made / "coco"
            coco.mkdir(exist_ok=True)
            (coco / f"instances_{split}.json").write_text(json.dumps(content), encoding="utf-8")
        for name in dict.fromkeys(formats):
            (made / name).mkdir()
            WRITERS[name](card, partial(read_records, records), made / name)
        sources = _sources(instructions) if counts else {}
        text = _card(card, counts, licences, sources, formats)
        (made / "README.md").write_text(text, encoding="utf-8")
        files = sorted(path for path in made.rglob("*") if path.is_file())
        sums = "".join(f"{checksum(path)}  {path.relative_to(made).as_posix()}\n" for path in files)
        (made / SUMS).write_text(sums, encoding="utf-8")
    return card


def _licences(content: dict[str, list[dict[str, Any]]]) -> Counter[str]:
    names = {one["id"]: one["name"] for one in content["licenses"]}
    return Counter(names[image["license"]] for image in content["images"])


def _sources(instructions: Path) -> dict[str, int]:
    """The number of expressions by source."""
    table = read_table(instructions)
    distinct = table[table["expression"] != ""].drop_duplicates(["image_id", "region_id", "expression"])
    return {str(name): int(count) for name, count in distinct["expression_source"].value_counts().items()}


def _copy(files: Iterator[Path], folder: Path) -> None:
    for path in files:
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, folder / path.name)


def _card(
    card: DatasetCard,
    instructions: dict[str, dict[str, int]],
    licences: Counter[str],
    sources: dict[str, int],
    formats: Sequence[str],
) -> str:
    """The README with the front matter that hubs read."""
    configs = [_config("records", {split: f"records/{split}-*.parquet" for split in card.splits}, True)]
    if instructions:
        files = {split: f"instructions/{split}.parquet" for split in instructions}
        configs.append(_config("instructions", files, False))
    head = {"pretty_name": card.name, "task_categories": ["image-to-text", "object-detection"], "configs": configs}
    counts = card.counts
    rows = [
        f"| {split} | {counts[split]['num_images']:,} | {counts[split]['num_regions']:,} "
        f"| {counts[split]['num_expressions']:,} | {sum(instructions.get(split, {}).values()):,} |"
        for split in card.splits
    ]
    tasks = Counter[str]()
    for by_task in instructions.values():
        tasks.update(by_task)
    parts = [
        f"---\n{yaml.safe_dump(head, sort_keys=False).rstrip()}\n---",
        f"# {card.name}",
        "Regions of images (boxes, and if known polygons, keypoints, categories and expressions), and questions and "
        "answers of grounding tasks about them. Made with vilam.",
        "\n".join(["| split | images | regions | expressions | instructions |", "|---|---:|---:|---:|---:|", *rows]),
        "\n".join(["## Other formats", "", *(f"- `{name}/`: {FORMATS[name]}" for name in formats)]) if formats else "",
        _listed("Instructions by task", tasks),
        _listed("Expressions in the instructions by source", sources),
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
