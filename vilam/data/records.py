"""The types of the data: expression, region, group of regions, image record, and the card of a data set."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

Point = tuple[float, float]
Polygon = tuple[Point, ...]
Keypoint = tuple[float, float, int]

TRAIN = "train"
"""The name of the training split."""
SIGMA = 0.05
"""Of a keypoint's OKS, where the source does not tell."""
SHOWN = 4
"""Categories in the title of a data set, at most."""
EXPRESSION_KINDS = ("attribute", "position", "order", "relation", "class", "free")


@dataclass(frozen=True, slots=True)
class Provenance:
    """Which model generated an expression, and its scores.

    model: its version, such as "models:/vilam/3" or "models/train sha256:0123456789ab". confidence: the geometric mean
    of the probabilities of the expression's tokens, 0..1. round_trip_iou: IoU of the region and the box that the same
    model found for this expression, 0..1.
    """

    model: str
    confidence: float
    round_trip_iou: float


@dataclass(frozen=True, slots=True)
class Expression:
    """A referring expression: a text that means one region of an image.

    ``kind`` is one of EXPRESSION_KINDS: how the expression distinguishes the region from the others ("free" if people
    wrote it without a label). ``source`` is its author: "human", "generated" (part of a generated scene), "rule"
    (`synthesize`, for a region without expressions) or "model" (a trained model). Only the last has a ``provenance``;
    it is kept in the instructions, and image records on disk hold no such expressions.
    """

    text: str
    kind: str = "free"
    source: str = "human"
    provenance: Provenance | None = None


@dataclass(frozen=True, slots=True)
class Region:
    """One object of one image, in absolute pixels of the original image (x right, y down).

    box_xyxy: (x1, y1, x2, y2) floats, x1 < x2 and y1 < y2, inside the image.
    polygons: outer rings of the visible parts, whose first point is not repeated; empty if the mask is unknown.
    keypoints: (x, y, v) in the order of the category's schema; v is COCO's 0 unlabelled, 1 hidden, 2 visible.
    """

    region_id: str
    box_xyxy: tuple[float, float, float, float]
    category: str
    polygons: tuple[Polygon, ...] = ()
    keypoints: tuple[Keypoint, ...] = ()
    expressions: tuple[Expression, ...] = ()


@dataclass(frozen=True, slots=True)
class Group:
    """An expression that means any number of an image's regions: several, one, or none.

    ``kind`` and ``source`` are those of an `Expression`; a group of the kind "class" has a category's name as its text.
    """

    group_id: str
    text: str
    region_ids: tuple[str, ...] = ()
    kind: str = "free"
    source: str = "human"


@dataclass(frozen=True, slots=True)
class ImageRecord:
    """One image with its regions: a row of the data set.

    image: the encoded file (PNG or JPEG) as bytes. width, height: pixels. captions: sentences about the whole image.
    groups: their regions are all among ``regions``. domain: a sentence before every question about the image, such as
    "This is a chest x-ray."; "" for none. unmarked: categories with objects in the image that are
    not regions: crowds, and invalid regions.
    """

    image_id: str
    split: str
    image: bytes
    width: int
    height: int
    source: str
    licence: str
    captions: tuple[str, ...] = ()
    regions: tuple[Region, ...] = ()
    groups: tuple[Group, ...] = ()
    domain: str = ""
    unmarked: tuple[str, ...] = ()

    def region(self, region_id: str) -> Region:
        """The region with this id; raises StopIteration if there is none."""
        return next(region for region in self.regions if region.region_id == region_id)

    def group(self, group_id: str) -> Group:
        """The group with this id; raises StopIteration if there is none."""
        return next(group for group in self.groups if group.group_id == group_id)

    def members(self, group: Group) -> tuple[Region, ...]:
        """The regions that a group means, in the order of ``regions``."""
        return tuple(region for region in self.regions if region.region_id in group.region_ids)

    def with_regions(self, regions: Iterable[Region]) -> ImageRecord:
        """The record with only these regions; a group that means any other region is dropped."""
        kept = tuple(regions)
        ids = {region.region_id for region in kept}
        return replace(self, regions=kept, groups=tuple(one for one in self.groups if ids.issuperset(one.region_ids)))


class Levels(NamedTuple):
    """The values of a picture of more than 8 bits that are shown black and white, after ``offset`` is added."""

    low: float
    high: float
    offset: float = 0.0


@dataclass(frozen=True, slots=True)
class KeypointSchema:
    """Names of a category's keypoints, the bones between them (pairs of 0-based indices) and COCO's OKS sigmas."""

    names: tuple[str, ...]
    skeleton: tuple[tuple[int, int], ...]
    sigmas: tuple[float, ...]

    @classmethod
    def without_sigmas(cls, names: Sequence[str], skeleton: tuple[tuple[int, int], ...] = ()) -> KeypointSchema:
        """A schema of a source that tells no sigmas: each is `SIGMA`."""
        return cls(tuple(names), skeleton, (SIGMA,) * len(names))


@dataclass(frozen=True, slots=True)
class DatasetCard:
    """The facts of a whole data set; written last, beside the shards: if it is there, they are complete.

    keypoints: schema by category, only for categories that have one. unseen: categories that were held out of train.
    domain: the sentence before every question about its images. levels: by which its images of more than 8 bits are
    shown; None: from their minimum to their maximum. counts: by split, e.g.
    ``{"train": {"num_images": 10, "num_regions": 41, "num_expressions": 120, "num_invalid": 0, ...}}``.
    """

    name: str
    categories: tuple[str, ...]
    keypoints: dict[str, KeypointSchema]
    splits: tuple[str, ...]
    licences: tuple[str, ...]
    counts: dict[str, dict[str, int]]
    unseen: tuple[str, ...] = ()
    domain: str = ""
    levels: Levels | None = None

    @property
    def title(self) -> str:
        """The name and the first categories, for people: ``voc (platelets, rbc, wbc)``."""
        shown = ", ".join(self.categories[:SHOWN])
        return f"{self.name} ({shown}{', …' if len(self.categories) > SHOWN else ''})"
