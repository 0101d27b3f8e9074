"""The DICOM files below a folder: slices of image series with their places in the patient, and files of annotations.

Only headers are read here, by pydicom. A place is in millimetres of the patient: x to the left, y to the back, z to the
head (LPS).
"""

from __future__ import annotations

import importlib
import os
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vilam.data.kinds import BROKEN, UNREADABLE
from vilam.data.readers.source import ALL, Problem
from vilam.data.records import Levels
from vilam.errors import VilamError, one_line
from vilam.geometry.boxes import FloatArray

NAME = re.compile(r"[^.]+|[^.].*\.(dcm|dicom|dic|ima|\d+)", re.IGNORECASE)
"""Names of DICOM files: the usual suffixes, none, or the end of a number such as 1.2.840."""
PREAMBLE, MAGIC, HEAD = 128, b"DICM", 1024
STORAGE = b"1.2.840.10008.5.1.4.1.1."
SEG, RTSTRUCT = "SEG", "RTSTRUCT"
CLASSES = {SEG: rb"66\.[47]", RTSTRUCT: rb"481\.3"}
"""The ends of the classes of annotations' files: segmentation, label map and structure set."""
NO_PICTURES = ("SEG", "RTSTRUCT", "RTDOSE", "RTPLAN", "RTRECORD", "PR", "SR", "REG", "KO", "FID")
"""Modalities that show no patient."""
IDS = ("PatientID", "StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "FrameOfReferenceUID", "Modality")
OF_SLICE = (
    *(*IDS, "Rows", "Columns", "NumberOfFrames", "InstanceNumber", "PhotometricInterpretation", "BitsStored"),
    *("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness", "WindowCenter"),
    *("WindowWidth", "RescaleSlope", "RescaleIntercept"),
    *("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"),
)
OF_ANNOTATION = (
    *(*IDS, "ReferencedSeriesSequence", "ReferencedFrameOfReferenceSequence", "SegmentSequence", "SourceImageSequence"),
    "StructureSetROISequence",
)
SLACK = 0.1
"""Millimetres by which a point may lie off a plane beside half the distance between planes."""


@dataclass(frozen=True, slots=True, eq=False)
class Plane:
    """Where the pixels of a picture are in the patient.

    origin: the centre of the first pixel (3,). across, down: from a pixel to the next of its row and column (3,).
    """

    origin: FloatArray
    across: FloatArray
    down: FloatArray

    @property
    def normal(self) -> FloatArray:
        """The unit vector across both directions (3,)."""
        cross = np.cross(self.across, self.down)
        return np.asarray(cross / np.linalg.norm(cross))

    def pixels(self, points: FloatArray) -> FloatArray:
        """Points of the patient (N, 3) in pixels (N, 2), x right and y down; the first pixel covers 0 to 1."""
        offsets = points - self.origin
        steps = [offsets @ step / (step @ step) for step in (self.across, self.down)]
        return np.stack(steps, axis=1) + 0.5

    def points(self, pixels: FloatArray) -> FloatArray:
        """Pixels (N, 2) in the patient (N, 3)."""
        return self.origin + (pixels - 0.5) @ np.stack([self.across, self.down])

    def corners(self, size: tuple[int, int]) -> FloatArray:
        """The four corners of a picture of this width and height (4, 3)."""
        width, height = size
        return self.points(np.array([(0, 0), (width, 0), (width, height), (0, height)], dtype=np.float64))


@dataclass(frozen=True, slots=True, eq=False)
class Slice:
    """A picture: its file, its frame there, its width and height in pixels, its place, the window of its file."""

    path: Path
    uid: str
    frame: int
    num_frames: int
    number: int
    size: tuple[int, int]
    plane: Plane | None
    thickness: float
    levels: Levels | None


@dataclass(slots=True)
class Series:
    """The slices of a series."""

    uid: str
    patient: str
    study: str
    reference: str
    slices: list[Slice] = field(default_factory=list)
    _named: dict[tuple[str, int | None], int] = field(default_factory=dict)
    _places: _Places | None = None

    def arrange(self) -> None:
        """Bring all slices into their order, after which `index` finds them."""
        self.slices.sort(key=_along)
        for n, one in reversed([*enumerate(self.slices)]):
            self._named[one.uid, one.frame] = self._named[one.uid, None] = n
        planes = {n: one.plane for n, one in enumerate(self.slices) if one.plane is not None}
        if planes:
            self._places = _Places.of(planes, self.slices[min(planes)].thickness)

    def index(self, uids: Iterable[tuple[str, int | None]], points: FloatArray | None) -> int | None:
        """The index of the slice in whose plane all points (N, 3) lie, those of the ids and frames first.

        An id without a frame means any of its frames. Without points, or in a series without places, ids decide.
        """
        own = [self._named[uid] for uid in uids if uid in self._named]
        if points is None or self._places is None:
            return own[0] if own else None
        found = self._places.nearest(points, own)
        return self._places.nearest(points) if found is None else found


@dataclass(frozen=True, slots=True, eq=False)
class _Places:
    """The planes of a series: their origins and normals (N, 3), and how far from one a point may lie."""

    indices: NDArray[np.int64]
    origins: FloatArray
    normals: FloatArray
    reach: float

    @classmethod
    def of(cls, planes: Mapping[int, Plane], thickness: float) -> _Places:
        """The places of planes by their index; half the distance between them is in reach, or half the thickness."""
        origins = np.stack([plane.origin for plane in planes.values()])
        normals = np.stack([plane.normal for plane in planes.values()])
        gaps = np.diff(np.sort(origins @ normals[0]))
        gaps = gaps[gaps > SLACK / 10]
        return cls(
            np.array([*planes]), origins, normals, float(np.median(gaps) if len(gaps) else thickness) / 2 + SLACK
        )

    def nearest(self, points: FloatArray, among: Sequence[int] | None = None) -> int | None:
        """The index of the plane that all points (N, 3) are near to; None if they are near to none."""
        chosen = slice(None) if among is None else np.isin(self.indices, among)
        indices, origins, normals = self.indices[chosen], self.origins[chosen], self.normals[chosen]
        if not len(indices):
            return None
        away = np.abs(points @ normals.T - (origins * normals).sum(1)).max(0)
        best = int(away.argmin())
        return int(indices[best]) if away[best] <= self.reach else None


@dataclass(frozen=True, slots=True)
class Annotation:
    """A file of annotations: its kind, names of its objects, what it refers to."""

    path: Path
    kind: str
    names: tuple[str, ...]
    patient: str
    study: str
    reference: str
    series: frozenset[str]
    instances: frozenset[str]


@dataclass(frozen=True, slots=True)
class Tree:
    """What lies below a folder: series by their ids, annotations, files that cannot be read."""

    series: dict[str, Series]
    annotations: list[Annotation]
    problems: list[Problem]


def pydicom() -> Any:
    """The package, without its warnings about values; raises VilamError if it is not installed."""
    try:
        package = importlib.import_module("pydicom")
    except ImportError:
        raise VilamError("DICOM with SEG or RTSTRUCT: pydicom is not installed: pip install 'vilam[medical]'") from None
    package.config.settings.reading_validation_mode = package.config.IGNORE
    return package


def files_below(root: Path) -> Iterator[tuple[Path, str]]:
    """DICOM files below a folder, or the file itself, with their kind: `SEG`, `RTSTRUCT` or "" for others."""
    for path in [root] if root.is_file() else _candidates(root):
        head = _head(path)
        if head[PREAMBLE : PREAMBLE + len(MAGIC)] == MAGIC:
            kinds = (kind for kind, end in CLASSES.items() if re.search(re.escape(STORAGE) + end, head))
            yield path, next(kinds, "")


def _candidates(root: Path) -> Iterator[Path]:
    for parent, folders, names in os.walk(root):
        folders.sort()
        yield from (Path(parent, name) for name in sorted(names) if NAME.fullmatch(name))


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(HEAD)
    except OSError:
        return b""


def read_tree(root: Path) -> Tree:
    """The headers of all DICOM files below a folder; of a file that is there twice the first is taken."""
    tree, seen = Tree({}, [], []), set[str]()
    for path, kind in files_below(root):
        try:
            header = read_header(path, OF_ANNOTATION if kind else OF_SLICE)
            uid = str(header.get("SOPInstanceUID", ""))
            if uid in seen:
                continue
            seen.add(uid)
            if kind:
                tree.annotations.append(_annotation(path, kind, header))
            elif "Rows" in header and str(header.get("Modality", "")) not in NO_PICTURES:
                _add_slices(tree.series, path, uid, header)
        except VilamError:
            raise
        except Exception as error:  # a broken file can raise almost anything
            tree.problems.append(
                Problem(ALL, str(path), f"cannot be read: {one_line(error)}", UNREADABLE if kind else BROKEN)
            )
    for series in tree.series.values():
        series.arrange()
    return tree


def read_header(path: Path, tags: Sequence[str] | None = None) -> Any:
    """pydicom's data set of a file without its pixels; only these elements, if they are named."""
    return pydicom().dcmread(path, stop_before_pixels=True, specific_tags=list(tags) if tags else None)


def _along(slice_: Slice) -> tuple[float, int, int]:
    """A sort key along the series: by place, or by number."""
    place = round(float(slice_.plane.origin @ slice_.plane.normal), 3) if slice_.plane else 0.0
    return place, slice_.number, slice_.frame


def _add_slices(found: dict[str, Series], path: Path, uid: str, header: Any) -> None:
    patient, study, own, reference = (
        str(header.get(key, "") or "").strip()
        for key in ("PatientID", "StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID")
    )
    series = found.setdefault(own, Series(own, patient, study, reference))
    count = int(header.get("NumberOfFrames") or 1)
    size, num_bytes = (int(header.Columns), int(header.Rows)), path.stat().st_size
    packed = header.file_meta.TransferSyntaxUID.is_compressed
    if count > num_bytes or (size[0] * size[1] * count > 8 * num_bytes and not packed):
        raise ValueError(f"{count} frames of {size[0]}x{size[1]} in a file of {num_bytes} bytes")
    for frame in range(count):
        series.slices.append(
            Slice(
                path,
                uid,
                frame,
                count,
                int(header.get("InstanceNumber") or 0),
                size,
                frame_plane(header, frame),
                float(of_frame(header, frame, "PixelMeasuresSequence").get("SliceThickness") or 0) or 1.0,
                _levels(header, of_frame(header, frame, "FrameVOILUTSequence")),
            )
        )


def of_frame(header: Any, frame: int, sequence: str) -> Any:
    """Where a frame's elements of a functional group are: in the frame's, in the shared ones, or in the header."""
    frames = header.get("PerFrameFunctionalGroupsSequence") or []
    for group in (*frames[frame : frame + 1], *(header.get("SharedFunctionalGroupsSequence") or [])[:1]):
        if group.get(sequence):
            return group[sequence].value[0]
    return header


def frame_plane(header: Any, frame: int) -> Plane | None:
    """The place of a frame, or of a file with one picture; None if it does not tell."""
    position = of_frame(header, frame, "PlanePositionSequence").get("ImagePositionPatient")
    orientation = of_frame(header, frame, "PlaneOrientationSequence").get("ImageOrientationPatient")
    spacing = of_frame(header, frame, "PixelMeasuresSequence").get("PixelSpacing")
    if not (position and orientation and spacing):
        return None
    origin, directions, (between_rows, between_columns) = (
        np.array([float(value) for value in values]) for values in (position, orientation, spacing)
    )
    plane = Plane(origin, directions[:3] * between_columns, directions[3:] * between_rows)
    whole = np.concatenate([plane.origin, plane.across, plane.down])
    if whole.shape != (9,) or not np.isfinite(whole).all() or np.linalg.norm(np.cross(plane.across, plane.down)) < 1e-9:
        raise ValueError(f"no plane: position {position}, orientation {orientation}, spacing {spacing}")
    return plane


def _levels(header: Any, voi: Any) -> Levels | None:
    """The first window of a file, for values as SimpleITK reads them (PS3.3 C.11.2.1.2); None if it has none."""
    centre, width = _first(voi.get("WindowCenter")), _first(voi.get("WindowWidth"))
    if centre is None or width is None or not width > 1:
        return None
    low, high = centre - 0.5 - (width - 1) / 2, centre - 0.5 + (width - 1) / 2
    if str(header.get("PhotometricInterpretation", "")) != "MONOCHROME1":
        return Levels(low, high)
    slope, intercept = _first(header.get("RescaleSlope")), _first(header.get("RescaleIntercept")) or 0.0
    # SimpleITK inverts the stored values and then rescales them.
    total = (slope or 1.0) * (2 ** int(header.get("BitsStored") or 16) - 1) + 2 * intercept
    return Levels(total - high, total - low)


def _first(value: Any) -> float | None:
    """The number, or the first of several; None if there is none."""
    if value is None or value == "":
        return None
    return float(value) if isinstance(value, str | int | float) or not hasattr(value, "__iter__") else _first(value[0])


def _annotation(path: Path, kind: str, header: Any) -> Annotation:
    patient, study, reference = (
        str(header.get(key, "") or "").strip() for key in ("PatientID", "StudyInstanceUID", "FrameOfReferenceUID")
    )
    own = str(header.get("SeriesInstanceUID", ""))
    series, instances = _referenced(header, own)
    if not series and not instances and kind == SEG:  # each frame refers to its picture, perhaps
        series, instances = _referenced(read_header(path), own)
    frames = [str(one.get("FrameOfReferenceUID", "")) for one in header.get("ReferencedFrameOfReferenceSequence") or []]
    names = tuple(segment_names(header).values())
    if kind == RTSTRUCT:
        names = tuple(str(one.get("ROIName", "") or "") for one in header.get("StructureSetROISequence") or [])
    return Annotation(path, kind, names, patient, study, next(filter(None, frames), reference), series, instances)


def _referenced(header: Any, own: str) -> tuple[frozenset[str], frozenset[str]]:
    """The ids of the series, except its own, and of the pictures that a file refers to, anywhere in its header."""
    values: dict[str, set[str]] = defaultdict(set)
    for element in header.iterall():
        if element.keyword in ("SeriesInstanceUID", "ReferencedSOPInstanceUID"):
            values[element.keyword].add(str(element.value))
    return frozenset(values["SeriesInstanceUID"] - {own}), frozenset(values["ReferencedSOPInstanceUID"])


def segment_names(header: Any) -> dict[int, str]:
    """The names of segments by their numbers; 0, in a label map, is the background."""
    numbered = ((int(one.SegmentNumber), _segment_name(one)) for one in header.get("SegmentSequence") or [])
    return {number: name for number, name in numbered if number}


def _segment_name(segment: Any) -> str:
    """A segment's label; what it is of, if the label is only a number."""
    label = str(segment.get("SegmentLabel", "") or "").strip()
    if re.fullmatch(r"((segment|label)[ _-]*)?\d*", label, re.IGNORECASE):
        types = segment.get("SegmentedPropertyTypeCodeSequence") or []
        return str(types[0].get("CodeMeaning", "") or "") if types else label
    return label
