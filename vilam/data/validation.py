"""Checks every row of a source: what is bad is left out, reported in one line and counted; the good beside it stays."""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace

from PIL import Image

from vilam.data.decoding import Decoded, decode, in_order
from vilam.data.invalid import MAX_LINES, Invalid
from vilam.data.kinds import BOX, BROKEN, CATEGORY, KEYPOINTS, OUTLINE, RING, SIZE, TWICE
from vilam.data.readers.kept import KeptSet
from vilam.data.readers.source import Problem, RawRecord
from vilam.data.records import ImageRecord, Keypoint, KeypointSchema, Point, Polygon, Region
from vilam.data.sanity import Statistics
from vilam.errors import VilamError
from vilam.geometry.boxes import area, clip_box

logger = logging.getLogger(__name__)


class Validator:
    """Passes good rows on and counts bad ones; raises VilamError if there are more than ``max_invalid`` of one kind."""

    def __init__(
        self,
        categories: tuple[str, ...],
        keypoints: Mapping[str, KeypointSchema],
        max_invalid: float,
        source: str,
        report: Callable[[str], None] = lambda line: logger.warning("%s: left out", line),
        threads: int | None = None,
    ) -> None:
        """categories: those that regions may have. keypoints: schema by category. source: the data set's name.

        report: called with the line of a bad row. threads: that decode pictures; None for one for each core.
        """
        self.categories, self._known, self._keypoints = categories, frozenset(categories), keypoints
        self._max_invalid, self._source, self._threads = max_invalid, source, threads
        self._image_ids = KeptSet()
        self._report, self.invalid, self.statistics = report, Invalid(report), Statistics()

    @property
    def num_invalid(self) -> Counter[str]:
        """The number of bad rows by split."""
        return self.invalid.splits

    def check(self, rows: Iterable[RawRecord | Problem]) -> Iterator[ImageRecord]:
        """The good records, with their good regions clipped to the image."""
        return (record for record, _ in self.inspect(rows, None))

    def inspect(
        self, rows: Iterable[RawRecord | Problem], fingerprint: Callable[[Image.Image], bytes] | None
    ) -> Iterator[tuple[ImageRecord, bytes]]:
        """The good records, each with the fingerprint of its picture."""

        def decoded(row: RawRecord | Problem) -> Decoded:
            return Decoded() if isinstance(row, Problem) else decode(row.record.image, fingerprint)

        for row, picture in in_order(decoded, rows, self._threads):
            if isinstance(row, Problem):
                self._count(row)
            elif problem := self._image_problem(row, picture):
                self.invalid.lost.update(region.category for region in row.record.regions)
                self._count(problem)
            else:
                self.statistics.add(row)
                yield self._without_bad_parts(row), picture.fingerprint
        self._finish()

    def _count(self, problem: Problem) -> None:
        self.invalid.add(problem)
        self._stop(self.invalid.excess(self._max_invalid, is_whole=False))

    def _finish(self) -> None:
        """Say how many were only counted; raise VilamError if too much is bad."""
        for kind, count in self.invalid.kinds.items():
            if count > MAX_LINES:
                self._report(f"{self._source}: {kind}: {count} bad rows in all")
        self._stop(self.invalid.excess(self._max_invalid))

    def _stop(self, excess: str) -> None:
        if excess:
            raise VilamError(f"{self._source}: {excess}")

    def _image_problem(self, row: RawRecord, picture: Decoded) -> Problem | None:
        record = row.record
        if picture.error:
            return Problem(record.split, row.location, picture.error, BROKEN)
        if picture.size != (record.width, record.height):
            sides = "x".join(map(str, picture.size))
            message = f"the image is {sides}, the annotation says {record.width}x{record.height}"
            return Problem(record.split, row.location, message, SIZE)
        if not self._image_ids.add(record.image_id):
            return Problem(record.split, row.location, f"image id {record.image_id} appears twice", TWICE)
        return None

    def _without_bad_parts(self, row: RawRecord) -> ImageRecord:
        """The record without what is bad of its regions; categories of lost ones are added to ``unmarked``."""
        self.invalid.num_images += 1
        record = row.record
        regions: dict[str, Region] = {}
        lost: set[str] = set()
        for region in record.regions:
            good, problems = self._region(region, record)
            place = f"{row.location}, region {region.region_id}"
            for kind, message in problems:
                category = "" if good else region.category
                self._count(Problem(record.split, place, message, kind, category))
            if good is None:
                lost.add(region.category)
                continue
            self.invalid.num_objects += 1
            self.invalid.kept[good.category] += 1
            own = _free_id(good.region_id, regions)
            regions[own] = good if own == good.region_id else replace(good, region_id=own)
        checked = record.with_regions(regions.values())
        return replace(checked, unmarked=tuple(sorted({*record.unmarked, *lost}))) if lost else checked

    def _region(self, region: Region, record: ImageRecord) -> tuple[Region | None, list[tuple[str, str]]]:
        """What is good of a region, clipped to its image, None if nothing is; kind and message of all that is bad."""
        width, height = record.width, record.height
        if region.category not in self._known:
            return None, [(CATEGORY, f"unknown category {region.category!r}")]
        try:
            box = _box(region, width, height)
        except ValueError as error:
            return None, [(BOX, str(error))]
        rings, bad_rings = [], []
        for ring in region.polygons:
            try:
                rings.append(_ring(ring, width, height))
            except ValueError as error:
                bad_rings.append(str(error))
        problems = [(RING if rings else OUTLINE, message) for message in bad_rings]
        keypoints: tuple[Keypoint, ...] = ()
        try:
            keypoints = _keypoints(region, self._keypoints.get(region.category), width, height)
        except ValueError as error:
            problems.append((KEYPOINTS, str(error)))
        good = box, tuple(rings), keypoints
        if good == (region.box_xyxy, region.polygons, region.keypoints):
            return region, problems
        return replace(region, box_xyxy=box, polygons=good[1], keypoints=keypoints), problems


def _free_id(region_id: str, taken: Mapping[str, object]) -> str:
    """The id, with a number behind it if another region of the image has it."""
    number, own = 1, region_id
    while own in taken:
        number += 1
        own = f"{region_id}_{number}"
    return own


def _box(region: Region, width: int, height: int) -> tuple[float, float, float, float]:
    box = region.box_xyxy
    if 0 <= box[0] < box[2] <= width and 0 <= box[1] < box[3] <= height:
        return box
    if not all(map(math.isfinite, box)):
        raise ValueError(f"box is not a number: {box}")
    if not (box[0] < box[2] and box[1] < box[3]):
        raise ValueError(f"box of no area: {box}")
    clipped = clip_box(box, width, height)
    if not area(clipped) > 0:
        raise ValueError(f"box outside the {width}x{height} image: {box}")
    return clipped


def _ring(ring: Polygon, width: int, height: int) -> Polygon:
    if len(ring) < 3:
        raise ValueError(f"polygon of {len(ring)} points")
    if all(0 <= x <= width and 0 <= y <= height for x, y in ring):
        return ring
    return tuple(_clip(point, width, height) for point in ring)


def _clip(point: Point, width: int, height: int) -> Point:
    x, y = point
    if not (math.isfinite(x) and math.isfinite(y)):
        raise ValueError(f"polygon point is not a number: {point}")
    return min(max(x, 0.0), float(width)), min(max(y, 0.0), float(height))


def _keypoints(region: Region, schema: KeypointSchema | None, width: int, height: int) -> tuple[Keypoint, ...]:
    if region.keypoints and (schema is None or len(schema.names) != len(region.keypoints)):
        expected = len(schema.names) if schema else 0
        raise ValueError(f"{len(region.keypoints)} keypoints, a {region.category} has {expected}")
    return tuple(_keypoint(point, width, height) for point in region.keypoints)


def _keypoint(point: Keypoint, width: int, height: int) -> Keypoint:
    """The keypoint, or an unlabelled one if it is outside the image."""
    x, y, v = point
    if not (math.isfinite(x) and math.isfinite(y) and v in (0, 1, 2)):
        raise ValueError(f"keypoint is not (x, y, 0..2): {point}")
    return point if 0 <= x <= width and 0 <= y <= height and v else (0.0, 0.0, 0)
