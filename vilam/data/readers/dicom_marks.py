"""Objects of DICOM's SEG and RTSTRUCT as marks in the slices of a series.

SEG: each frame is the mask of a segment in a plane; frames without pixels may be left out. Fractions count from one
half. RTSTRUCT: each object has closed rings in planes, in millimetres of the patient.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vilam.data.kinds import BOX, OUTLINE
from vilam.data.masks import Mask
from vilam.data.readers.dicom_files import Plane, Series, Slice, frame_plane, of_frame, pydicom, segment_names
from vilam.data.readers.images import read_volume
from vilam.data.readers.masks import region_of_mask
from vilam.data.readers.source import ALL, Problem, tidy
from vilam.data.records import Region
from vilam.geometry.boxes import FloatArray
from vilam.geometry.polygons import area, clockwise, polygon_box

CLOSED = ("CLOSED_PLANAR", "CLOSEDPLANAR_XOR")
FRACTIONAL, LABELMAP = "FRACTIONAL", "LABELMAP"
"""Types of segmentation beside BINARY."""
SAME = 1e-2
"""Pixels by which two grids may differ and be the same."""
MIN_POINTS = 3
PARTS = 64
"""Of a pixel, to which rings are rounded, as those of masks are."""


@dataclass(frozen=True, slots=True)
class Mark:
    """What an object covers in a slice: square pixels, and its region, from an id and a category."""

    area: float
    region: Callable[[str, str], Region]


@dataclass(slots=True)
class Marked:
    """An object: its marks by the index of their slice."""

    category: str
    marks: dict[int, Mark] = field(default_factory=dict)

    def add(self, index: int, mark: Mark) -> None:
        """Add a mark, of several in a slice the largest."""
        if index not in self.marks or mark.area > self.marks[index].area:
            self.marks[index] = mark


Found = tuple[list[Marked], list[Problem]]


def segments(path: Path, series: Series) -> Found:
    """The segments of a SEG or of a label map in a series; frames are decoded one by one.

    Raises ValueError, and other errors of pydicom, if the file is damaged.
    """
    frames = _Frames(path)
    header = frames.header
    found = {number: Marked(tidy(name)) for number, name in segment_names(header).items()}
    size = int(header.Columns), int(header.Rows)
    outside = 0
    for frame in range(int(header.get("NumberOfFrames") or 1)):
        plane = frame_plane(header, frame)
        index = series.index(_sources(header, frame), None if plane is None else plane.corners(size))
        if index is None:
            outside += 1
            continue
        for number, count in frames.counts(frame):
            if number in found:
                region = partial(_region_of_frame, frames, frame, number, plane, series.slices[index])
                found[number].add(index, Mark(count, region))
    problems = [_lost(path, f"{outside} frames lie in no slice of their series", OUTLINE)] if outside else []
    problems += [
        _lost(path, f"object {one.category} has no pixel in its series", BOX, one.category)
        for one in found.values()
        if outside and not one.marks
    ]
    return [one for one in found.values() if one.marks], problems


class _Frames:
    """The frames of a SEG, decoded one by one."""

    def __init__(self, path: Path) -> None:
        self.header = pydicom().dcmread(path)
        self.kind = str(self.header.get("SegmentationType", ""))
        syntax = self.header.file_meta.TransferSyntaxUID
        self._decoded = None
        if syntax.is_compressed and syntax != pydicom().uid.RLELossless:  # pydicom needs further packages for it
            self._decoded = read_volume(path, turn=False)[0]

    def counts(self, frame: int) -> Iterator[tuple[int, int]]:
        """The segments of a frame and the numbers of their pixels."""
        if self.kind == LABELMAP:
            numbers, counts = np.unique(self._values(frame), return_counts=True)
            yield from ((int(n), int(count)) for n, count in zip(numbers, counts, strict=True))
            return
        identification = of_frame(self.header, frame, "SegmentIdentificationSequence")
        number = int(identification.get("ReferencedSegmentNumber") or 1)
        if count := int(np.count_nonzero(self.mask(frame, number))):
            yield number, count

    def mask(self, frame: int, number: int) -> Mask:
        """The pixels [height, width] of a segment."""
        values = self._values(frame)
        if self.kind == LABELMAP:
            return np.asarray(values == number)
        if self.kind == FRACTIONAL:
            return np.asarray(values * 2.0 >= int(self.header.get("MaximumFractionalValue") or 255))
        return np.asarray(values > 0)

    def _values(self, frame: int) -> NDArray[Any]:
        """The values of a frame [height, width]; frames of bits follow each other without a gap."""
        header = self.header
        if self._decoded is not None:
            return np.asarray(self._decoded[frame])
        if int(header.BitsAllocated) != 1:
            return np.asarray(pydicom().pixels.pixel_array(header, index=frame, raw=True))
        height, width = int(header.Rows), int(header.Columns)
        first, skipped = divmod(frame * height * width, 8)
        end = first + (skipped + height * width + 7) // 8
        bits = np.unpackbits(np.frombuffer(header.PixelData[first:end], np.uint8), bitorder="little")
        return bits[skipped : skipped + height * width].reshape(height, width)


def _sources(header: Any, frame: int) -> list[tuple[str, int | None]]:
    """The ids of the pictures that a frame was made from, and their frames, which count from 0 here."""
    derived = of_frame(header, frame, "DerivationImageSequence")
    derived = derived.get("SourceImageSequence") or [] if derived is not header else []
    found: list[tuple[str, int | None]] = []
    for source in derived:
        numbers = source.get("ReferencedFrameNumber")
        frames = [None] if numbers is None else np.atleast_1d(np.array(numbers, dtype=int)) - 1
        found += [(str(source.ReferencedSOPInstanceUID), None if n is None else int(n)) for n in frames]
    return found


def _region_of_frame(
    frames: _Frames, frame: int, number: int, plane: Plane | None, slice_: Slice, region_id: str, category: str
) -> Region:
    mask = _on_slice(frames.mask(frame, number), plane, slice_)
    if not mask.any():
        raise ValueError("no pixel inside of the picture")
    return region_of_mask(region_id, category, mask)


def _on_slice(mask: Mask, plane: Plane | None, slice_: Slice) -> Mask:
    """A mask on the pixels of a slice, also if its grid is another one; raises ValueError if that is not known."""
    width, height = slice_.size
    if plane is None or slice_.plane is None:
        if mask.shape != (height, width):
            raise ValueError(f"a mask of {mask.shape[1]}x{mask.shape[0]} on an image of {width}x{height}")
        return mask
    ends = np.array([(0.5, 0.5), (width - 0.5, height - 0.5), (0.5, height - 0.5)])
    if mask.shape == (height, width) and np.abs(plane.pixels(slice_.plane.points(ends)) - ends).max() < SAME:
        return mask
    y, x = np.mgrid[:height, :width]
    centres = np.stack([x.ravel(), y.ravel()], axis=1) + 0.5
    columns, rows = np.floor(plane.pixels(slice_.plane.points(centres))).astype(int).T
    inside = (columns >= 0) & (columns < mask.shape[1]) & (rows >= 0) & (rows < mask.shape[0])
    found = np.zeros(width * height, dtype=bool)
    found[inside] = mask[rows[inside], columns[inside]]
    return found.reshape(height, width)


def structures(path: Path, series: Series) -> Found:
    """The structures of an RTSTRUCT in a series; points and open contours are left out.

    Raises ValueError, and other errors of pydicom, if the file is damaged.
    """
    header = pydicom().dcmread(path)
    names = {int(one.ROINumber): tidy(str(one.get("ROIName", "") or "")) for one in header.StructureSetROISequence}
    found: list[Marked] = []
    problems: list[Problem] = []
    for structure in header.get("ROIContourSequence") or []:
        category = names.get(int(structure.ReferencedROINumber), "")
        rings, outside = _rings(structure, series)
        marked = Marked(category)
        for index, own in rings.items():
            outer = _outer(own)
            marked.marks[index] = Mark(sum(map(area, outer)), partial(_region_of_rings, outer))
        found += [marked] if marked.marks else []
        if outside:
            kind, lost = (OUTLINE, "") if marked.marks else (BOX, category)
            message = f"object {category}: {outside} contours are no ring in a slice of their series"
            problems.append(_lost(path, message, kind, lost))
    return found, problems


def _rings(structure: Any, series: Series) -> tuple[dict[int, list[FloatArray]], int]:
    """The closed rings of a structure in pixels by the index of their slice, and the number of those that fit none."""
    rings: dict[int, list[FloatArray]] = {}
    outside = 0
    for contour in structure.get("ContourSequence") or []:
        if str(contour.get("ContourGeometricType", "")) not in CLOSED:
            continue
        points = np.array([float(value) for value in contour.get("ContourData") or []])
        if len(points) % 3 or len(points) < 3 * MIN_POINTS or not np.isfinite(points).all():
            outside += 1
            continue
        points = points.reshape(-1, 3)
        images = contour.get("ContourImageSequence") or []
        index = series.index([(str(one.get("ReferencedSOPInstanceUID", "")), None) for one in images], points)
        plane = None if index is None else series.slices[index].plane
        if index is None or plane is None:
            outside += 1
            continue
        rings.setdefault(index, []).append(np.round(plane.pixels(points) * PARTS) / PARTS)
    return rings, outside


def _outer(rings: list[FloatArray]) -> list[FloatArray]:
    """The rings that lie in no other one, clockwise, the largest first; a ring in another is the edge of a hole."""
    ordered = sorted(map(clockwise, rings), key=area, reverse=True)
    found: list[FloatArray] = []
    for ring in ordered:
        if not any(_contains(other, ring) for other in found):
            found.append(ring)
    return found


def _contains(ring: FloatArray, points: FloatArray) -> bool:
    """Whether most points (N, 2) lie inside of a ring (M, 2), by the number of sides that a ray to the right meets."""
    x, y = points[:, 0, None], points[:, 1, None]
    (x1, y1), (x2, y2) = ring.T, np.roll(ring, -1, axis=0).T
    crosses = (y1 > y) != (y2 > y)
    with np.errstate(divide="ignore", invalid="ignore"):
        right = x < x1 + (y - y1) * (x2 - x1) / (y2 - y1)
    return bool((np.count_nonzero(crosses & right, axis=1) % 2).mean() > 0.5)


def _region_of_rings(rings: list[FloatArray], region_id: str, category: str) -> Region:
    polygons = tuple(tuple((float(x), float(y)) for x, y in ring) for ring in rings)
    return Region(region_id, polygon_box(np.concatenate(rings)), category, polygons)


def _lost(path: Path, message: str, kind: str, category: str = "") -> Problem:
    return Problem(ALL, str(path), message, kind, category)
