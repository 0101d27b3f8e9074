"""CVAT for video 1.1: tracks of objects, put into the frames in which they are, as CVAT for images would write them.

A ``track`` has a label and a shape for each frame, those between key frames too, as CVAT interpolates them; one that is
``outside`` is no object. Frames are counted from 0; their pictures are those that end in their number, such as
images/frame_000000.PNG. A frame with a picture and without shapes is a picture without objects.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from pathlib import Path

from vilam.data.kinds import MISSING
from vilam.data.readers.naming import without_suffix
from vilam.data.readers.paths import images_below, under
from vilam.data.readers.source import Problem
from vilam.errors import VilamError

NUMBER = re.compile(r"(?:^|frame)[-_ ]?(\d+)$", re.IGNORECASE)
OF_TRACKS = ("label", "group_id")
"""What a track tells of its shapes."""


def add_frames(tree: ET.Element, file: Path) -> list[Problem]:
    """Give a tree of tracks an ``image`` for each frame that has a picture; returns what is lost.

    Raises VilamError if no frame has a picture, or if the tracks are of several films.
    """
    shapes, first, last = _shapes(tree, file), *_bounds(tree)
    pictures = {number: path for number, path in _pictures(file.parent).items() if first <= number <= last}
    if not pictures:
        raise VilamError(
            f"{file}: no pictures of the film's frames: export it with «Save images», or put images/frame_000000.PNG … "
            "beside it"
        )
    if first not in pictures and last + 1 in _pictures(file.parent):
        raise VilamError(f"{file}: its frames are counted from {first}, their pictures from {first + 1}: rename these")
    sides = {side: tree.findtext(f".//original_size/{side}", "") for side in ("width", "height")}
    for number, path in pictures.items():
        image = ET.SubElement(tree, "image", {"name": under(file.parent, path), **sides})
        image.extend(shapes.get(number, []))
    missing = sorted(number for number, own in shapes.items() if own and number not in pictures)
    told = f"pictures of {len(missing)} frames with objects not found, the first: frame {missing[0]}" if missing else ""
    return [Problem("", str(file), told, MISSING)] if missing else []


def _shapes(tree: ET.Element, file: Path) -> dict[int, list[ET.Element]]:
    """The shapes of each frame that a track names."""
    if len({track.get("task_id") for track in tree.iterfind("track")}) > 1:
        raise VilamError(f"{file}: tracks of several tasks, whose frames have the same numbers: export each task alone")
    found: dict[int, list[ET.Element]] = {}
    for track in tree.iterfind("track"):
        own = {name: value for name in OF_TRACKS if (value := track.get(name))}
        for shape in track:
            number = shape.get("frame", "")
            if not number.isdecimal():
                raise VilamError(f"{file}: a {shape.tag} of track {track.get('id')} without a frame: export it again")
            shape.attrib.update(own)
            found.setdefault(int(number), []).extend([shape] if shape.get("outside") != "1" else [])
    return found


def _bounds(tree: ET.Element) -> tuple[int, int]:
    """The first and the last frame of the task; of the tracks, if it does not tell."""
    numbers = [int(shape.get("frame", "")) for track in tree.iterfind("track") for shape in track]
    first, last = (tree.findtext(f"meta/task/{name}", "") for name in ("start_frame", "stop_frame"))
    return (
        int(first) if first.isdecimal() else min(numbers, default=0),
        int(last) if last.isdecimal() else max(numbers, default=0),
    )


def _pictures(folder: Path) -> dict[int, Path]:
    """The pictures below a folder by the number at the end of their name."""
    found = ((NUMBER.search(without_suffix(path.name)), path) for path in images_below(folder))
    return {int(match[1]): path for match, path in found if match}
