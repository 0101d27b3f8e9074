"""A person's shell in a small project: lines in bash, with real git and DVC, and forks.py in place of start-ups."""

from __future__ import annotations

import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path

import forks
import toy
from documents import PROJECT
from PIL import Image

from vilam.config import yaml_text
from vilam.data.records import ImageRecord
from vilam.data.scenes import generate_scene

LIMIT = 300
"""Seconds that a line may take, on a busy machine."""


@dataclass
class Run:
    """A line that was run."""

    line: str
    status: int
    out: str
    seconds: float = 0.0

    def __str__(self) -> str:
        """The line, the end of what it printed and its exit status."""
        return f"$ {self.line}\n{self.out[-4000:]}\n(status {self.status}, {self.seconds:.1f} s)"


@dataclass
class Shell:
    """A project in which lines are run, and a folder for what they make beside it."""

    root: Path
    environment: dict[str, str]
    runs: list[Run] = field(default_factory=list)

    def run(self, line: str) -> Run:
        """Run a line in bash."""
        begun = time.monotonic()
        done = subprocess.run(
            ["bash", "-ec", line],
            cwd=self.root,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            input="y\n",  # to a question
            timeout=LIMIT,
        )
        self.runs.append(Run(line, done.returncode, done.stdout, time.monotonic() - begun))
        return self.runs[-1]

    def must(self, line: str) -> Run:
        """Run a line that must succeed."""
        done = self.run(line)
        assert done.status == 0, str(done)
        return done

    def experiments(self) -> list[str]:
        """The experiments of DVC, the newest last."""
        words = ["git", "for-each-ref", "--sort=creatordate", "--format=%(refname)", "refs/exps"]
        found = subprocess.check_output(words, cwd=self.root, text=True)
        return re.findall(r"^refs/exps/\w\w/\w+/(.+)$", found, re.M)

    def registered_runs(self) -> list[str]:
        """The MLflow runs of the registered versions."""
        with sqlite3.connect(self.root / "mlruns" / "mlflow.db") as database:
            return [row[0] for row in database.execute("select run_id from model_versions order by version")]


KINDS = ["circle", "square", "triangle"]
PICTURES = 30
"""Pictures of each data set."""


def write_pictures(folder: Path) -> Path:
    """A folder that is Pascal VOC, with two pictures in val and two in test, and also COCO, with other pictures."""
    for name in ("Annotations", "JPEGImages", "ImageSets/Main", "annotations"):
        (folder / name).mkdir(parents=True)
    for number in range(PICTURES):
        _write_voc(folder, f"voc{number:02}", generate_scene(5, number, "train", toy.IMAGE_SIZE))
    for split, numbers in {"train": range(4, PICTURES), "val": range(2), "test": range(2, 4)}.items():
        names = "\n".join(f"voc{number:02}" for number in numbers)
        (folder / "ImageSets" / "Main" / f"{split}.txt").write_text(names)
    _write_coco(folder, [generate_scene(6, number, "train", toy.IMAGE_SIZE) for number in range(PICTURES)])
    return folder


def _write_voc(folder: Path, name: str, record: ImageRecord) -> None:
    objects = ""
    for region, kind in zip(record.regions, cycle(KINDS), strict=False):
        sides = zip(("xmin", "ymin", "xmax", "ymax"), region.box_xyxy, strict=True)
        box = "".join(f"<{side}>{value + (side in ('xmin', 'ymin'))}</{side}>" for side, value in sides)
        objects += f"<object><name>{kind}</name><bndbox>{box}</bndbox></object>"
    size = f"<size><width>{toy.IMAGE_SIZE}</width><height>{toy.IMAGE_SIZE}</height></size>"
    xml = f"<annotation><filename>{name}.png</filename>{size}{objects}</annotation>"
    (folder / "Annotations" / f"{name}.xml").write_text(xml)
    (folder / "JPEGImages" / f"{name}.png").write_bytes(record.image)


def _write_coco(folder: Path, records: list[ImageRecord]) -> None:
    images, annotations = [], []
    for number, record in enumerate(records):
        path = f"JPEGImages/coco{number:02}.png"
        (folder / path).write_bytes(record.image)
        images.append({"id": number, "file_name": path, "width": toy.IMAGE_SIZE, "height": toy.IMAGE_SIZE})
        for region, kind in zip(record.regions, cycle(range(len(KINDS))), strict=False):
            left, top, right, bottom = region.box_xyxy
            own = {"id": len(annotations) + 1, "image_id": number, "category_id": kind, "iscrowd": 0}
            annotations.append(own | {"bbox": [left, top, right - left, bottom - top]})
    categories = [{"id": number, "name": kind} for number, kind in enumerate(KINDS)]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "annotations" / "instances_all.json").write_text(json.dumps(content))


@contextmanager
def shell_environment(folder: Path) -> Iterator[dict[str, str]]:
    """The environment of a person's shell, with the commands of forks.py on the PATH and a folder of pictures."""
    commands = forks.write_commands(folder / "forks")
    made = {
        **os.environ,
        "PATH": f"{commands}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": f"{PROJECT}{os.pathsep}{PROJECT / 'tests'}",
        "OMP_NUM_THREADS": "1",
        "COLUMNS": "150",
        "DVC_SITE_CACHE_DIR": str(folder / "dvc"),
        "DVC_NO_ANALYTICS": "1",
        "GIT_CONFIG_GLOBAL": "/dev/null",
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": "init.defaultBranch",
        "GIT_CONFIG_VALUE_0": "main",
        "PICTURES": str(write_pictures(folder / "pictures")),
    }
    for name in ("AUTHOR", "COMMITTER"):
        made |= {f"GIT_{name}_NAME": "nobody", f"GIT_{name}_EMAIL": "nobody@example.org"}
    with (folder / "log.txt").open("w") as log:
        server = subprocess.Popen(
            [sys.executable, str(Path(forks.__file__)), str(folder / "forks")],
            env=made,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        while not (folder / "forks" / "socket").exists():
            assert server.poll() is None, (folder / "log.txt").read_text()
            time.sleep(0.05)
        yield made
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def finished(folder: Path, environment: dict[str, str]) -> Shell:
    """A finished project, as README says, in ``folder/base``: `vilam init`, `dvc repro`, a commit."""
    Shell(folder, environment).must("vilam init base")
    shell = Shell(folder / "base", environment)
    content = toy.params(activate__steps=2, train__steps=4, train__cycle__max_tokens=8)
    (shell.root / "params.yaml").write_text(yaml_text(content))
    Image.effect_noise((60, 60), 50).convert("RGB").save(shell.root / "photo.jpg")
    shell.must("git commit -qam 'Small settings' && dvc repro")
    shell.must("git add dvc.lock metrics && git commit -qm 'First result'")
    return shell
