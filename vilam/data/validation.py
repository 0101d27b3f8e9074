"""Checks every row of a source; a bad region or image is left out, reported in one line and counted."""

from __future__ import annotations

import logging
import math
import struct
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from io import BytesIO

from PIL import Image, UnidentifiedImageError

from vilam.data.readers.source import Problem, RawRecord
from vilam.data.records import ImageRecord, Keypoint, KeypointSchema, Point, Polygon, Region
from vilam.errors import VilamError, one_line
from vilam.geometry.boxes import area, clip_box

logger = logging.getLogger(__name__)

MAX_LISTED = 5
"""Bad rows that the final error lists, at most."""

_DECODING_ERRORS = (OSError, SyntaxError, ValueError, EOFError, zlib.error, struct.error, Image.DecompressionBombError)


class Validator:
    """Passes good rows on and counts bad ones by split; raises VilamError once there are more than ``max_invalid``."""

    def __init__(
        self,
        categories: tuple[str, ...],
        keypoints: dict[str, KeypointSchema],
        max_invalid: int,
        source: str,
        report: Callable[[str], None] = lambda line: logger.warning("%s: left out", line),
    ) -> None:
        """categories: those that regions may have. keypoints: schema by category. source: the data set's name.

        report: called with the line of each bad row.
        """
        self._report = report
        self.num_invalid: Counter[str] = Counter()
        self._categories, self._keypoints = frozenset(categories), keypoints
        self._max_invalid, self._source = max_invalid, source
        self._lines: list[str] = []
        self._image_ids: set[str] = set()
        self._region_ids: set[str] = set()

    def check(self, rows: Iterable[RawRecord | Problem]) -> Iterator[ImageRecord]:
        """The good records, with their good regions clipped to the image."""
        for row in rows:
            if isinstance(row, Problem):
                self._count(row)
                continue
            message = self._image_problem(row.record)
            if message:
                self._count(Problem(row.record.split, row.location, message))
            else:
                self._image_ids.add(row.record.image_id)
                yield self._without_bad_regions(row)

    def _count(self, problem: Problem) -> None:
        line = f"{problem.location}: {problem.message}"
        self._report(line)
        self._lines.append(line)
        self.num_invalid[problem.split] += 1
        if len(self._lines) > self._max_invalid:
            first = "; ".join(self._lines[:MAX_LISTED])
            raise VilamError(
                f"{self._source}: more than prepare.max_invalid = {self._max_invalid} bad rows, the first: {first}: "
                "fix them or raise prepare.max_invalid"
            )

    def _image_problem(self, record: ImageRecord) -> str | None:
        if record.image_id in self._image_ids:
            return f"image id {record.image_id} appears twice"
        try:
            with Image.open(BytesIO(record.image)) as image:
                image.load()
                size = image.size
        except UnidentifiedImageError:
            return "broken or truncated image (unknown format)"
        except _DECODING_ERRORS as error:
            return f"broken or truncated image ({one_line(error)[:80]})"
        if size != (record.width, record.height):
            return f"the image is {size[0]}x{size[1]}, the annotation says {record.width}x{record.height}"
        return None

    def _without_bad_regions(self, row: RawRecord) -> ImageRecord:
        """The record with its good regions; the categories of the others are added to ``unmarked``."""
        record = row.record.with_regions(self._good_regions(row))
        good = {region.region_id for region in record.regions}
        lost = {region.category for region in row.record.regions if region.region_id not in good}
        return replace(record, unmarked=tuple(sorted({*record.unmarked, *lost})))

    def _good_regions(self, row: RawRecord) -> Iterator[Region]:
        for region in row.record.regions:
            try:
                yield self._region(region, row.record)
            except ValueError as error:
                self._count(Problem(row.record.split, f"{row.location}, region {region.region_id}", str(error)))

    def _region(self, region: Region, record: ImageRecord) -> Region:
        """The region clipped to its image; raises ValueError with a message if it is invalid."""
        if region.region_id in self._region_ids:
            raise ValueError("its id appears twice")
        if region.category not in self._categories:
            raise ValueError(f"unknown category {region.category!r}")
        width, height = record.width, record.height
        clean = replace(
            region,
            box_xyxy=_box(region, width, height),
            polygons=tuple(_ring(ring, width, height) for ring in region.polygons),
            keypoints=_keypoints(region, self._keypoints.get(region.category), width, height),
        )
        self._region_ids.add(region.region_id)
        return clean


def _box(region: Region, width: int, height: int) -> tuple[float, float, float, float]:
    box = region.box_xyxy
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
