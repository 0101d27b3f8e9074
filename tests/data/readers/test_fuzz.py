"""Damaged data sets of every format: each is read, or refused in one line; none crashes, hangs or fills the memory.

A valid set (tests/samples.py) is damaged where its format has structure: a value of JSON, an element of XML, a word of
a line, a whole file. VILAM_FUZZ is the number of inputs; `make fuzz` runs 20,000.
"""

from __future__ import annotations

import json
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import samples

from vilam.data.readers import find_recipe, open_files
from vilam.data.validation import Validator
from vilam.errors import VilamError

INPUTS = int(os.environ.get("VILAM_FUZZ", "1000"))
SECONDS = 20
"""For one input, at most."""
MEGABYTES = 300
"""By which all inputs of a format may make the process grow, at most."""
WRITERS = {**samples.WITH_CATEGORIES, **samples.WITH_WORDS}
JUNK: tuple[Any, ...] = (
    *(None, True, "", " ", 0, -1, 0.5, 1e308, float("nan"), float("inf"), 10**30, "abc", "[", "%", "\0", "é" * 50),
    *([], {}, [[]], [None], {"": None}, [1, 2], [1, 2, 3, 4, 5], "../../x.png", "/x.png", "1e400", "<loc_1>", "<bbox>"),
)
WORDS = (*("", "-1", "nan", "inf", "1e400", "abc", "0", "9" * 20, "\0", "é", "[", '"', ",", "<", "&", ";"), "None")

Files = dict[str, bytes]


def files_of(write: Callable[[Path], None]) -> Files:
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder))
        found = sorted(path for path in Path(folder).rglob("*") if path.is_file())
        return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


def damaged(files: Files, rng: random.Random) -> Files:
    """A copy with one to three faults, most of them in the annotations."""
    changed = dict(files)
    for _ in range(rng.randint(1, 3)):
        texts = [name for name in changed if not name.endswith(".png")]
        name = rng.choice(texts if texts and rng.random() < 0.9 else [*changed])
        changed[name] = damage(name, changed[name], rng)
        if rng.random() < 0.03:
            del changed[name]
        if not changed:
            return dict(files)
    return changed


def damage(name: str, content: bytes, rng: random.Random) -> bytes:
    kind = rng.random()
    if kind < 0.1:
        return content[: rng.randint(0, len(content))]
    if kind < 0.2 and content:
        place = rng.randrange(len(content))
        return content[:place] + bytes([rng.randrange(256)]) + content[place + 1 :]
    try:
        if name.endswith(".json"):
            return json.dumps(in_json(json.loads(content), rng)).encode()
        if name.endswith(".jsonl"):
            lines = content.splitlines()
            number = rng.randrange(len(lines))
            lines[number] = json.dumps(in_json(json.loads(lines[number]), rng)).encode()
            return b"\n".join(lines)
        if name.endswith(".xml"):
            return in_xml(ET.fromstring(content), rng)
    except (ValueError, ET.ParseError):  # damaged before
        return content
    return in_words(content, rng)


def in_json(content: Any, rng: random.Random) -> Any:
    """The content with one value replaced, removed or repeated."""
    places = list(places_in(content))
    if not places:
        return rng.choice(JUNK)
    parent, key = rng.choice(places)
    kind = rng.random()
    if kind < 0.15:
        del parent[key]
    elif kind < 0.25 and isinstance(parent, list):
        parent.append(parent[key])
    elif kind < 0.28:
        for _ in range(300):
            parent[key] = [parent[key]]
    else:
        parent[key] = rng.choice(JUNK)
    return content


def places_in(content: Any) -> Iterator[tuple[Any, Any]]:
    keys = content.keys() if isinstance(content, dict) else range(len(content)) if isinstance(content, list) else ()
    for key in list(keys):
        yield content, key
        yield from places_in(content[key])


def in_xml(root: ET.Element, rng: random.Random) -> bytes:
    parents = [(parent, child) for parent in root.iter() for child in parent]
    element = rng.choice([*root.iter()])
    kind = rng.random()
    if kind < 0.2 and parents:
        parent, child = rng.choice(parents)
        parent.remove(child)
    elif kind < 0.3 and parents:
        parent, child = rng.choice(parents)
        parent.append(child)
    elif kind < 0.6 and element.attrib:
        element.set(rng.choice([*element.attrib]), rng.choice(WORDS).replace("\0", "?"))
    else:
        element.text = rng.choice(WORDS).replace("\0", "?")
    return ET.tostring(root)


def in_words(content: bytes, rng: random.Random) -> bytes:
    """A text with one of its words, or the signs between them, replaced."""
    separator = rng.choice((b" ", b",", b"\n", b":"))
    words = content.split(separator)
    words[rng.randrange(len(words))] = rng.choice(WORDS).encode()
    return separator.join(words)


@contextmanager
def limited(seconds: int) -> Iterator[None]:
    def stop(number: int, frame: object) -> None:
        raise TimeoutError(f"longer than {seconds} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def read(folder: Path, project: Path) -> str | None:
    """Read a folder to the end; the message if it is refused."""
    try:
        source = open_files(*find_recipe("auto", folder, project))
        validator = Validator(source.categories, source.keypoints, sys.maxsize, source.name, report=lambda *_: None)
        for record in validator.check(source.rows):
            for region in record.regions:
                x1, y1, x2, y2 = region.box_xyxy
                assert 0 <= x1 < x2 <= record.width and 0 <= y1 < y2 <= record.height
    except VilamError as error:
        return str(error)
    return None


@pytest.mark.parametrize("name", WRITERS)
def test_damaged_sets_are_read_or_refused(name: str, tmp_path: Path, project: Path) -> None:
    files, before = files_of(WRITERS[name]), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for number in range(INPUTS // len(WRITERS)):
        folder = tmp_path / f"{number}"
        changed = damaged(files, random.Random(f"{name} {number}"))
        for path, content in changed.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(content)
        try:
            with limited(SECONDS):
                message = read(folder, project)
            assert message is None or "\n" not in message, message
        except Exception as error:
            raise AssertionError(f"{name}, input {number} in {folder}: {error!r}") from error
        shutil.rmtree(folder)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert grown < MEGABYTES, f"{grown:.0f} MB more"
