"""Reading a data set, beside a plain loop of pycocotools and Pillow over the same files; and the memory of `prepare`.

    python -m benchmarks.reading

Every picture is decoded by all ways, and the ways take turns, so that other work on the machine slows all of them
equally. Memory is that of a whole process, at its peak, with few and with many small pictures; Linux only, since what
getrusage tells of a new process begins with the memory of the one that started it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import numpy as np
from PIL import Image
from pycocotools.coco import COCO

from benchmarks.scene_set import PROJECT, machine, show
from vilam.data.near_copies import fingerprint
from vilam.data.readers import find_recipe, open_files
from vilam.data.validation import Validator

PICTURES, SIZE, OBJECTS, ROUNDS = 1000, (640, 480), 7, 5
SMALL, FEW, MANY = (64, 64), 4_000, 64_000
DIFFERENT = 50
"""Pictures of different pixels; the others are copies with a comment."""
PREPARE = r"""
import re, sys
from pathlib import Path
from vilam.config import Settings
from vilam.stages import prepare
settings = {"seed": 1, "prepare": {"source": "coco", "root": sys.argv[1]}}
prepare.run(Settings.model_validate(settings), Path(sys.argv[2]))
print(int(re.search(r"VmHWM:\s*(\d+)", Path("/proc/self/status").read_text())[1]) / 1024)
"""


def write_set(folder: Path, count: int, size: tuple[int, int]) -> Path:
    """A COCO set of JPEG files with soft colours and some noise; returns its folder."""
    rng = np.random.default_rng(0)
    (folder / "images").mkdir(parents=True)
    width, height = size
    for number in range(count):
        path = folder / "images" / f"{number:08d}.jpg"
        if number >= DIFFERENT:
            copied = (folder / "images" / f"{number % DIFFERENT:08d}.jpg").read_bytes()
            comment = str(number).encode()  # no two pictures of a set are the same
            path.write_bytes(copied[:2] + b"\xff\xfe" + (len(comment) + 2).to_bytes(2) + comment + copied[2:])
            continue
        soft = Image.fromarray(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)).resize(size, Image.Resampling.BICUBIC)
        noise = rng.normal(0, 12, (height, width, 3))
        Image.fromarray((np.asarray(soft) + noise).clip(0, 255).astype(np.uint8)).save(path, quality=90)
    images = [{"id": n, "file_name": f"{n:08d}.jpg", "width": width, "height": height} for n in range(count)]
    annotations = [
        {"id": n * OBJECTS + k, "image_id": n, "category_id": 1 + k % 3, "bbox": [x, y, x, y], "iscrowd": 0,
         "area": x * y, "segmentation": [[x, y, 2 * x, y, 2 * x, 2 * y, x, 2 * y]]}
        for n in range(count)
        for k in range(OBJECTS)
        for x, y in [(width * (k + 1) // 20, height * (k + 1) // 20)]
    ]  # fmt: skip
    categories = [{"id": 1 + k, "name": name} for k, name in enumerate(("cup", "bowl", "spoon"))]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "instances.json").write_text(json.dumps(content))
    return folder


def plain_loop(folder: Path) -> int:
    """Pictures and their annotations as most scripts read them."""
    coco = COCO(str(folder / "instances.json"))
    count = 0
    for image_id in coco.getImgIds():
        coco.loadAnns(coco.getAnnIds(imgIds=image_id))
        with Image.open(folder / "images" / coco.imgs[image_id]["file_name"]) as image:
            image.load()
        count += 1
    return count


def checked(folder: Path, with_fingerprints: bool) -> int:
    """The records of `prepare`, or with the fingerprints by which `check` finds near copies."""
    recipe, root = find_recipe("coco", folder, PROJECT)
    source = open_files(recipe, root)
    validator = Validator(source.categories, source.keypoints, 0, source.name)
    return sum(1 for _ in validator.inspect(source.rows, fingerprint if with_fingerprints else None))


def seconds(read: Callable[[], int]) -> float:
    """How long it takes to read all pictures."""
    began = time.perf_counter()
    assert read() == PICTURES
    return time.perf_counter() - began


def peak_memory(folder: Path, count: int) -> float:
    """MiB of a process that prepares a set of small pictures, at most."""
    root = write_set(folder / str(count), count, SMALL)
    command = [sys.executable, "-c", PREPARE, str(root), str(folder)]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])


def main() -> None:
    """Prints the two tables."""
    with TemporaryDirectory() as name:
        folder = write_set(Path(name) / "set", PICTURES, SIZE)
        ways: dict[str, Callable[[], int]] = {
            "pycocotools and Pillow, a plain loop": lambda: plain_loop(folder),
            "records, as prepare reads them": lambda: checked(folder, False),
            "records and fingerprints, as check reads them": lambda: checked(folder, True),
        }
        for read in ways.values():  # the files are in memory afterwards
            read()
        rounds = [{way: seconds(read) for way, read in ways.items()} for _ in range(ROUNDS)]
        plain = next(iter(ways))
        rows = [
            [
                way,
                f"{PICTURES / median(each[way] for each in rounds):.0f}",
                f"{median(each[plain] / each[way] for each in rounds):.2f}",
            ]
            for way in ways
        ]
        few, many = (peak_memory(Path(name), count) for count in (FEW, MANY))
    print(machine(), f"{os.cpu_count()} cores")
    show(f"{PICTURES} pictures of {SIZE[0]}x{SIZE[1]}", ["way", "pictures per second", "times as fast"], rows)
    memory = [[f"{FEW:,}", f"{few:.0f}", "1.00"], [f"{MANY:,}", f"{many:.0f}", f"{many / few:.2f}"]]
    show("Memory of prepare", ["pictures", "MiB", "ratio"], memory)


if __name__ == "__main__":
    main()
