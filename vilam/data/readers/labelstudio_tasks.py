"""What Label Studio's tasks say: the annotation that counts, its regions and texts, and the names of pictures."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from vilam.data.readers.kept import KeptDict
from vilam.data.readers.paths import folded, is_image
from vilam.data.readers.row_files import listed
from vilam.data.readers.wording import is_expression
from vilam.errors import VilamError

UPLOAD = re.compile(r"^[0-9a-f]{8}-")
"""What Label Studio puts before the name of an uploaded file."""
INLINE = re.compile(r"^data:image/[\w.+-]+;base64,")
"""The beginning of a picture that a task holds itself."""

Row = dict[str, Any]


@dataclass(slots=True)
class Region:
    """The results of one id: its labels, the geometry's values, the texts, and the picture on which it was drawn."""

    labels: list[str] = field(default_factory=list)
    value: Row = field(default_factory=dict)
    texts: list[str] = field(default_factory=list)
    size: tuple[int, int] | None = None
    turn: float = 0
    parent: str | None = None
    picture: tuple[str, int] = ("", 0)


def tasks_of(file: Path) -> KeptDict[list[Any]]:
    """Location and content of each task; of JSON-MIN, which has a row for each annotator, the last of each task."""
    found = KeptDict[list[Any]]()
    for number, task in enumerate(listed(file), start=1):
        if not isinstance(task, dict):
            raise VilamError(f"{file}: task {number}: expected an object: export the project as JSON or JSON-MIN")
        is_one_of_several = task.get("annotation_id") is not None and "id" in task
        key = f"task {task['id']}" if is_one_of_several else f"row {number}"
        known = found.setdefault(key, lambda: ["", {}])
        if not known[1] or str(task.get("created_at")) >= str(known[1].get("created_at")):
            known[:] = f"{file}: task {task.get('id', number)}", task
    return found


def work_of(task: Row) -> tuple[Row, list[Row]] | None:
    """The data of a task and the results of the annotation that counts; None if nobody has done it."""
    if "annotations" in task or "completions" in task:
        chosen = _chosen(task.get("annotations", task.get("completions")))
        return None if chosen is None else (dict(task["data"]), list(chosen.get("result") or []))
    if "result" in task:
        return None if _chosen([task]) is None else (dict(task["task"]["data"]), list(task["result"] or []))
    return None if task.get("annotation_id") is None else (task, list(_results_of_row(task)))


def _chosen(annotations: Any) -> Row | None:
    """The annotation that counts; None if nobody has done the task."""
    own = [one for one in annotations or () if not (one.get("was_cancelled") or one.get("skipped"))]
    order = [(bool(one.get("ground_truth")), str(one.get("created_at", "")), number) for number, one in enumerate(own)]
    return own[max(order)[2]] if own else None


def _results_of_row(row: Row) -> Iterator[Row]:
    """The regions of JSON-MIN as results of the other export; it keeps no ids."""
    for key, values in row.items():
        for value in values if isinstance(values, list) else ():
            if isinstance(value, dict):
                sizes = {name: value[name] for name in ("original_width", "original_height") if name in value}
                yield {"value": value, "from_name": key, **sizes}


def regions_of(results: Sequence[Row]) -> dict[str, Region]:
    """The regions of an annotation by id; results that have no place in the picture are none."""
    found: dict[str, Region] = {}
    for number, result in enumerate(results):
        value = result.get("value")
        if not isinstance(value, dict) or not _has_place(value):
            continue
        region = found.setdefault(str(result.get("id", f"number {number}")), Region())
        labels = [label for key, own in value.items() if key.endswith("labels") for label in own or ()]
        region.labels += [str(label) for label in labels if label not in region.labels]
        region.value = {**region.value, **{key: one for key, one in value.items() if not key.endswith("labels")}}
        region.texts += _texts(result)
        if result.get("original_width") and result.get("original_height"):
            region.size = int(result["original_width"]), int(result["original_height"])
        region.turn = float(result.get("image_rotation") or 0)
        region.parent = result.get("parentID") or value.get("parentID") or region.parent
        region.picture = str(result.get("to_name", "")), int(result.get("item_index") or 0)
    return found


def _has_place(value: Row) -> bool:
    return any(key in value for key in ("rle", "imageDataURL", "points", "vertices", "sequence")) or {"x", "y"} <= set(
        value
    )


def _texts(result: Row) -> list[str]:
    """The words of a text field; none of a field for notes, or for what is written on the object."""
    text = result["value"].get("text")
    texts = [text] if isinstance(text, str) else text if isinstance(text, list) else []
    return [one for one in texts if isinstance(one, str) and is_expression(str(result.get("from_name")), one, least=1)]


def captions_of(results: Sequence[Row]) -> tuple[str, ...]:
    """The texts of an annotation that belong to no region."""
    alone = (one for one in results if one.get("type") == "textarea" and isinstance(one.get("value"), dict))
    return tuple(text for one in alone if not _has_place(one["value"]) for text in _texts(one))


def pictures_of(value: object) -> list[str]:
    """The pictures that a field of a task's data names."""
    texts = value if isinstance(value, list) else [value]
    return [
        text for text in texts if isinstance(text, str) and (INLINE.match(text) or is_image(Path(names_of(text)[0])))
    ]


def uploaded(name: str) -> str:
    """A file's name as an upload leaves it, folded: spaces become _, what is no letter, digit, _, - or . is left out.

    Source: Django's ``get_valid_filename``, by which Label Studio stores uploads.
    """
    return re.sub(r"[^-\w.]", "", folded(name).strip().replace(" ", "_"))


def names_of(text: str) -> list[str]:
    """Under which names a picture may lie here: its path without address, and its name before it was uploaded."""
    try:
        parts = urlsplit(text)
        query = parse_qs(parts.query)
    except ValueError:
        return [text]
    if "fileuri" in query:  # a picture of a cloud storage, through Label Studio
        try:
            return names_of(base64.b64decode(query["fileuri"][0]).decode())
        except (binascii.Error, UnicodeDecodeError):
            return [text]
    path = query["d"][0] if "d" in query else unquote(parts.path if parts.scheme or parts.query else text)
    return [path, UPLOAD.sub("", PurePosixPath(path.replace("\\", "/")).name), text]
