"""DICOM: image series, and beside them SEG (masks) or RTSTRUCT (contours) that refer to them.

All DICOM files below the folder are looked at, whatever their names and folders. An annotation belongs to the series
that it refers to, or else to the series of its frame of reference that has most slices. The slices in which an object
is largest become pictures, with all objects that they show; so do X-rays with SEG. Of several annotations of the same
objects, ``reader.files`` chooses.

Pixels are read by SimpleITK and shown in the recipe's window, or in the file's own. The patients of a set are divided,
or the studies if fewer than three patients are told.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path

from vilam.data.kinds import BROKEN, MISSING, UNREADABLE
from vilam.data.readers.dicom_files import (
    RTSTRUCT,
    SEG,
    Annotation,
    Series,
    Slice,
    Tree,
    files_below,
    read_tree,
)
from vilam.data.readers.dicom_marks import Marked, segments, structures
from vilam.data.readers.dividing import divided, split_of_folders
from vilam.data.readers.formats import CLEAR, Format, Found
from vilam.data.readers.images import read_volume, to_png
from vilam.data.readers.naming import without_suffix
from vilam.data.readers.paths import files_of, under
from vilam.data.readers.source import ALL, Problem, RawRecord, Source, split_order, tidy
from vilam.data.recipes import FormatReader, Recipe, Window
from vilam.data.records import ImageRecord, Region
from vilam.errors import VilamError, one_line

MIN_GROUPS = 3
WHOLE = "(.*)"
"""The name that is divided: a patient's id is no picture's name, whatever it ends with."""
READ = {SEG: segments, RTSTRUCT: structures}


@dataclass(slots=True)
class _Case:
    """A series and its annotations."""

    series: Series
    split: str = ALL
    annotations: list[Annotation] = field(default_factory=list)


def recognises(root: Path) -> Found | None:
    """A SEG or an RTSTRUCT anywhere below a folder, or such a file itself, whose images lie beside it."""
    kind = next((kind for _, kind in files_below(root) if kind), None)
    if kind is None:
        return None
    folder = root.parent if root.is_file() else root
    return Found(f"DICOM series with {kind}", FormatReader(kind="dicom"), folder, CLEAR)


def open_dicom(root: Path, recipe: Recipe, reader: FormatReader) -> Source:
    """Read the headers of all files; pixels, masks and contours are read series by series as the rows are iterated."""
    tree = read_tree(root)
    if not tree.annotations:
        raise VilamError(f"{root}: no SEG and no RTSTRUCT in its DICOM files: check prepare.root")
    cases, problems = _cases(root, tree, reader)
    if not cases:
        raise VilamError(f"{problems[0].location}: {problems[0].message}: set prepare.root to a folder that has both")
    splits = divided(
        [case.split for case in cases],
        [_group(root, case, cases, reader) for case in cases],
        reader.together or WHOLE,
    )
    ordered = sorted(zip(splits, cases, strict=True), key=lambda pair: split_order(pair[0]))
    there = tuple(dict.fromkeys(split for split, _ in ordered))
    rows = (row for split, case in ordered for row in _rows(root, recipe, case, split, reader.window))
    names = dict.fromkeys(tidy(name) for case in cases for one in case.annotations for name in one.names)
    levels = {slice_.levels for case in cases for slice_ in case.series.slices}
    return Source(
        recipe.name,
        tuple(name for name in names if name),
        {},
        there,
        (recipe.licence,),
        len(cases),
        chain((replace(problem, split=there[0]) for problem in problems), rows),
        levels=levels.pop() if len(levels) == 1 else None,
    )


def _cases(root: Path, tree: Tree, reader: FormatReader) -> tuple[list[_Case], list[Problem]]:
    """The series that have annotations, and what cannot be read or refers to a series that is not there."""
    own = {path: split for split, path in files_of(root, reader, [one.path for one in tree.annotations])}
    of_slice = {slice_.uid: series for series in tree.series.values() for slice_ in series.slices}
    cases: dict[str, _Case] = {}
    problems = list(tree.problems)
    for one in tree.annotations:
        if one.path in own:
            series = _series(one, tree, of_slice)
            if series is None:
                problems.append(Problem(ALL, str(one.path), "no image of its series below the folder", MISSING))
                continue
            told = own[one.path] if reader.files else split_of_folders(under(root, one.path))
            cases.setdefault(series.uid, _Case(series, told)).annotations.append(one)
    return [*cases.values()], problems


def _series(one: Annotation, tree: Tree, of_slice: dict[str, Series]) -> Series | None:
    """The series that an annotation refers to, else the largest one of its frame of reference."""
    named = [tree.series[uid] for uid in sorted(one.series) if uid in tree.series]
    named = named or [of_slice[uid] for uid in sorted(one.instances) if uid in of_slice]
    if not named and one.reference:
        named = [series for series in tree.series.values() if series.reference == one.reference]
    return max(named, key=lambda series: len(series.slices), default=None)


def _group(root: Path, case: _Case, cases: Sequence[_Case], reader: FormatReader) -> str:
    """The name whose hash decides the split: the patient, the study, or the series."""
    if reader.together is not None:
        return under(root, case.series.slices[0].path)
    for own in ("patient", "study"):
        if len({getattr(each.series, own) for each in cases}) >= MIN_GROUPS:
            return str(getattr(case.series, own))
    return case.series.uid


def _rows(root: Path, recipe: Recipe, case: _Case, split: str, window: Window | None) -> Iterator[RawRecord | Problem]:
    marked: list[Marked] = []
    for one in case.annotations:
        try:
            found, problems = READ[one.kind](one.path, case.series)
        except VilamError:
            raise
        except Exception as error:  # a broken file can raise almost anything
            yield Problem(split, str(one.path), f"cannot be read: {one_line(error)}", UNREADABLE)
            continue
        marked += found
        yield from (replace(problem, split=split) for problem in problems)
    for index in sorted({max(one.marks, key=lambda n: one.marks[n].area) for one in marked}):
        yield from _picture(root, recipe, case.series.slices[index], split, index, marked, window)


def _picture(
    root: Path, recipe: Recipe, slice_: Slice, split: str, index: int, marked: Sequence[Marked], window: Window | None
) -> Iterator[RawRecord | Problem]:
    """A slice with all objects that it shows."""
    name = without_suffix(under(root, slice_.path))
    image_id = f"{name}_{slice_.frame:04d}" if slice_.num_frames > 1 else name
    try:
        values = read_volume(slice_.path, turn=False)[0][slice_.frame]
        content, width, height = to_png(values, window or slice_.levels)
        if (width, height) != slice_.size:
            raise ValueError(f"its picture is {width}x{height}, its header says {slice_.size[0]}x{slice_.size[1]}")
    except (OSError, ValueError, IndexError) as error:
        yield Problem(split, str(slice_.path), f"cannot be read: {one_line(error)}", BROKEN)
        return
    regions: list[Region] = []
    for one in marked:
        if index in one.marks:
            try:
                regions.append(one.marks[index].region(f"{image_id}_{len(regions)}", one.category))
            except Exception as error:  # pixels are decoded here
                message = f"object {one.category}: its mask cannot be read: {one_line(error)}"
                yield Problem(split, str(slice_.path), message, UNREADABLE, one.category)
    record = ImageRecord(image_id, split, content, width, height, recipe.name, recipe.licence, (), tuple(regions))
    yield RawRecord(record, str(slice_.path))


FORMAT = Format(
    "dicom",
    "DICOM series with SEG or RTSTRUCT",
    "DICOM files of any names in any folders, such as PATIENT/STUDY/SERIES/*.dcm, images and annotations",
    "outlines and boxes in the slices where an object is largest, names of segments and structures, the files' windows",
    "other slices, holes, points and open contours, types and properties of segments",
    recognises,
    open_dicom,
    exhaustive=False,
)
