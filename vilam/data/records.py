"""The nouns of the data: an expression, a region, a group of them, an image record and the card of a data set."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

Point = tuple[float, float]
Polygon = tuple[Point, ...]
Keypoint = tuple[float, float, int]

TRAIN = "train"
"""The split that is trained on."""
EXPRESSION_KINDS = ("attribute", "position", "order", "relation", "class", "free")


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where a model's expression comes from, and how it was judged.

    model: its version, such as "models:/vilam/3" or "models/train sha256:0123456789ab". confidence: of the sample, the
    geometric mean of its tokens' probabilities, 0..1. round_trip_iou: of the box that the same model found by these
    words with the region, 0..1.
    """

    model: str
    confidence: float
    round_trip_iou: float


@dataclass(frozen=True, slots=True)
class Expression:
    """Words that fit one region of an image.

    ``kind`` is one of EXPRESSION_KINDS: how the expression distinguishes the region from the others ("free" if people
    wrote it and nobody labelled it). ``source`` says who wrote it: "human", "generated" (part of a generated scene),
    "rule" (`synthesize`, for a region that nobody described) or "model" (a trained model). Only the last has a
    ``provenance``; it is kept in the instructions, and image records on disk hold no such expressions.
    """

    text: str
    kind: str = "free"
    source: str = "human"
    provenance: Provenance | None = None


@dataclass(frozen=True, slots=True)
class Region:
    """One object of one image, in absolute pixels of the original image (x right, y down).

    box_xyxy: (x1, y1, x2, y2) floats, x1 < x2 and y1 < y2, inside the image.
    polygons: outer rings of the visible parts, not repeated at the end; empty where the outline is unknown.
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
    """Words that mean any number of an image's regions: several, one, or none where nothing in the image fits.

    ``kind`` and ``source`` are those of an `Expression`; of the kind "class" the words are a category's name.
    """

    group_id: str
    text: str
    region_ids: tuple[str, ...] = ()
    kind: str = "free"
    source: str = "human"


@dataclass(frozen=True, slots=True)
class ImageRecord:
    """One image with its regions: a row of the data set.

    image: the encoded file (PNG or JPEG) as bytes. width, height: pixels. captions: sentences on the whole image.
    groups: whose regions are all among ``regions``. domain: a sentence that stands before every question about the
    image, such as "This is a picture of a person's chest x-ray."; "" for none. unmarked: categories of which the image
    has objects that are no regions: crowds, and what was left out.
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
        """The region of this id; StopIteration where the image has none such."""
        return next(region for region in self.regions if region.region_id == region_id)

    def group(self, group_id: str) -> Group:
        """The group of this id; StopIteration where the image has none such."""
        return next(group for group in self.groups if group.group_id == group_id)

    def members(self, group: Group) -> tuple[Region, ...]:
        """The regions that a group means, in the order of the image's."""
        return tuple(region for region in self.regions if region.region_id in group.region_ids)

    def with_regions(self, regions: Iterable[Region]) -> ImageRecord:
        """The record with these regions alone; a group that means another one falls away."""
        kept = tuple(regions)
        ids = {region.region_id for region in kept}
        return replace(self, regions=kept, groups=tuple(one for one in self.groups if ids.issuperset(one.region_ids)))


@dataclass(frozen=True, slots=True)
class KeypointSchema:
    """Names of a category's keypoints, the bones between them (pairs of 0-based indices) and COCO's OKS sigmas."""

    names: tuple[str, ...]
    skeleton: tuple[tuple[int, int], ...]
    sigmas: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class DatasetCard:
    """What holds for a whole data set; written last, beside the shards, so that its presence means they are whole.

    keypoints: schema by category, only for categories that have one. unseen: categories of which train has no region,
    because they were held out. domain: the sentence that its images have. counts: by split, e.g.
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
