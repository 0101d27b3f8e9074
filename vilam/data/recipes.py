"""Recipes: what a data set is, where its files come from, and how a generic reader reads them.

    title: Blood cells (BCCD)
    home: https://github.com/Shenggan/BCCD_Dataset
    licence: MIT
    layout: BCCD/Annotations/*.xml, BCCD/JPEGImages/*.jpg, BCCD/ImageSets/Main/{train,val,test}.txt
    splits: train, val and test as its authors list them
    leakage: none known
    reader: {kind: voc}

``prepare.source`` names a recipe: the stem of a file in ``configs/datasets``, or the path of any other file.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from string import Formatter
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from vilam.config import RECIPE_SUFFIXES, Section, Sentence, checked, read_yaml
from vilam.errors import VilamError
from vilam.layout import Layout, named, shipped

Text = Annotated[str, Field(min_length=1)]
Glob = Annotated[str, Field(min_length=1)]
"""A pattern of paths under the root."""
UNKNOWN = "unknown"
"""A licence, a home or a leakage that nobody has told."""
RefcocoSet = Literal["refcoco", "refcoco_plus", "refcocog_umd", "refcocog_google", "grefcoco"]
BySplit = Annotated[dict[str, Glob], Field(min_length=1)]
"""Patterns by split; ``all`` is divided 8 : 1 : 1 and ``train+val`` 9 : 1, by a hash of the image's name."""


def _with_text_keys(names: object) -> object:
    if not isinstance(names, dict):
        return names
    return {str(key) if type(key) is int else key: name for key, name in names.items()}


Names = Annotated[dict[str, Text], BeforeValidator(_with_text_keys)]
"""Names by what is in a file; YAML reads ``{1: crack}`` as a number, which is its text here."""


class Window(Section):
    """The values of an image of more than 8 bits that become black and white, after ``offset`` is added.

    For CT these are Hounsfield units: -1350 to 150 shows lungs, -175 to 275 the abdomen.
    """

    low: float
    high: float
    offset: float = 0.0

    @model_validator(mode="after")
    def _from_dark_to_light(self) -> Window:
        if not self.low < self.high:
            raise ValueError(f"low {self.low:g} must be below high {self.high:g}")
        return self


class FileReader(Section):
    """What readers of loose files have in common.

    together: a pattern for an image's name. If the set is not divided yet, a hash of the pattern's first group decides
    the split, so that images of one patient, or of one film, are in one split. window: for images of more than 8 bits;
    without one, their minimum becomes black and their maximum white.
    """

    together: Text | None = None
    window: Window | None = None

    @field_validator("together")
    @classmethod
    def _one_group(cls, pattern: str | None) -> str | None:
        try:
            groups = re.compile(pattern or "()").groups
        except re.error as error:
            raise ValueError(f"no regular expression: {error}") from None
        if groups != 1:
            raise ValueError("expected one group, such as ^(patient_[0-9]+)")
        return pattern


class VocReader(Section):
    """Pascal VOC; see vilam/data/readers/voc.py."""

    kind: Literal["voc"]


class CocoReader(Section):
    """COCO JSON; see vilam/data/readers/coco.py.

    files: the JSON file of each split; None: they are found by COCO's names. images: folders that are searched for
    images before the usual ones.
    """

    kind: Literal["coco"]
    files: BySplit | None = None
    images: tuple[Text, ...] = ()


class RefcocoReader(Section):
    """Expressions of RefCOCO in any of its formats; see vilam/data/readers/refcoco.py. sets: those that are read."""

    kind: Literal["refcoco"]
    sets: Annotated[tuple[RefcocoSet, ...], Field(min_length=1)]


class YoloReader(Section):
    """Text files of boxes and polygons in fractions of the image's sides; see vilam/data/readers/yolo.py.

    data: the file that names classes and folders.
    """

    kind: Literal["yolo"]
    data: Text = "data.yaml"


class Columns(Section):
    """The columns of a table.

    image: the image's name. box: four columns, or one that holds four numbers; empty in a row of an image without
    objects. category, expression, split: one column each; None if there is none.
    """

    image: Text
    box: Annotated[list[Text], Field(min_length=1)]
    category: Text | None = None
    expression: Text | None = None
    split: Text | None = None

    @model_validator(mode="after")
    def _four_numbers(self) -> Columns:
        if len(self.box) not in (1, 4):
            raise ValueError("box: name four columns, or one that holds four numbers")
        return self


def field_names(pattern: str) -> set[str]:
    """The names in braces of a pattern; raises ValueError if it has others than ``image``, or a brace is missing."""
    names = {name for _, name, _, _ in Formatter().parse(pattern) if name is not None}
    if names - {"image"}:
        raise ValueError(f"{{{min(names - {'image'})}}}: only {{image}} can be filled in")
    return names


class TableReader(FileReader):
    """CSV or TSV with a row for each object; see vilam/data/readers/table.py.

    files: tables by split; with columns.split, one file ``all``. images: the path of an image, with ``{image}`` for the
    value of its column; rename: a pattern in that value and its replacement. box: what the four numbers are. unit:
    pixels, or fractions of the sides. category: of all objects, if there is no column for it. categories:
    names by the value of the column; a row with another value has no object. split_names: splits by the value of the
    column. separator: between columns.
    """

    kind: Literal["table"]
    files: BySplit
    columns: Columns
    images: Text
    rename: tuple[Text, str] | None = None
    box: Literal["xyxy", "xywh", "cxcywh"] = "xyxy"
    unit: Literal["pixels", "fractions"] = "pixels"
    category: Text | None = None
    categories: Names | None = None
    split_names: Names | None = None
    separator: str = ","

    @field_validator("images")
    @classmethod
    def _names_the_image(cls, images: str) -> str:
        if "image" not in field_names(images):
            raise ValueError("expected a path with {image}, such as scans/{image}.png")
        return images

    @field_validator("rename")
    @classmethod
    def _can_rename(cls, rename: tuple[str, str] | None) -> tuple[str, str] | None:
        try:
            re.sub(*rename or ("", ""), "")
        except re.error as error:
            raise ValueError(f"not a pattern and its replacement: {error}") from None
        return rename

    @model_validator(mode="after")
    def _objects_have_categories(self) -> TableReader:
        if (self.category is None) == (self.columns.category is None):
            raise ValueError("set one of category (of all objects) and columns.category")
        return self


class CategoryTable(Section):
    """A CSV file with the category of each image's objects.

    image, category: columns; the first holds image names without suffix. categories: names by the value of the second.
    together: the column whose hash decides the split, such as the patient, if the set is not divided yet.
    """

    file: Text
    image: Text
    category: Text
    categories: Names | None = None
    together: Text | None = None


class MasksReader(FileReader):
    """Images and masks beside them; see vilam/data/readers/masks.py.

    images: by split. mask: the pattern of an image's masks, or one for each of ``images``, with ``{stem}`` for the
    image's name without suffix, ``{folder}`` for its folder under the root, ``{parent}`` for the folder above and
    ``{name}`` for its folder's own name. category: of all objects, or ``{name}``, the name of the image's folder.
    table: categories by image. values: categories by the masks' pixel value (``"2"``) or colour (``"255,0,0"``).
    objects: whether each connected part of a mask is an object, or the whole mask.
    """

    kind: Literal["masks"]
    images: BySplit
    mask: Text | dict[str, Text]
    category: Text | None = None
    table: CategoryTable | None = None
    values: Names | None = None
    objects: Literal["parts", "whole"] = "whole"

    @model_validator(mode="after")
    def _objects_have_categories(self) -> MasksReader:
        if [self.category, self.table, self.values].count(None) != 2:
            raise ValueError("set one of category (of all objects), table (by image) and values (by value or colour)")
        if isinstance(self.mask, dict) and self.mask.keys() != self.images.keys():
            raise ValueError(f"mask: name {', '.join(self.images)}, as images does")
        return self


class Nodules(Section):
    """A CSV file of nodules, as in LUNA16: the volume's name, the centre and the diameter in millimetres."""

    file: Text
    volume: Text
    centre: tuple[Text, Text, Text]
    diameter: Text
    category: Text


class VolumesReader(FileReader):
    """Volumes (NIfTI, MetaImage, NRRD) whose slices become images; see vilam/data/readers/volumes.py.

    images: by split. Objects come either from mask, category and values, as in `MasksReader`, and each is shown in the
    slice where it is largest; or from nodules, and each is shown in the slice of its centre.
    """

    kind: Literal["volumes"]
    images: BySplit
    mask: Text | None = None
    category: Text | None = None
    values: Names | None = None
    nodules: Nodules | None = None

    @model_validator(mode="after")
    def _objects_have_one_source(self) -> VolumesReader:
        if (self.mask is None) == (self.nodules is None):
            raise ValueError("set one of mask and nodules")
        if (self.category is not None) + (self.values is not None) != (self.mask is not None):
            raise ValueError("beside mask set one of category (of all objects) and values (by value)")
        return self


class LinesReader(FileReader):
    """Images and text files of boxes beside them, four numbers in each line; see vilam/data/readers/lines.py.

    labels: the pattern of an image's text files, for each of ``images``, as ``mask`` of `MasksReader`. skip: number of
    lines at the beginning that hold no box.
    """

    kind: Literal["lines"]
    images: BySplit
    labels: BySplit
    category: Text
    skip: Annotated[int, Field(ge=0)] = 0

    @model_validator(mode="after")
    def _all_have_labels(self) -> LinesReader:
        if self.labels.keys() != self.images.keys():
            raise ValueError(f"labels: name {', '.join(self.images)}, as images does")
        return self


class ShapesReader(FileReader):
    """CSV with a row for each image and all of its objects in one column; see vilam/data/readers/shapes.py.

    files: tables by split. images: the paths of their images, with ``{image}`` for the value of the column ``image``.
    """

    kind: Literal["shapes"]
    files: BySplit
    images: BySplit
    image: Text
    shapes: Text
    category: Text

    @model_validator(mode="after")
    def _all_have_images(self) -> ShapesReader:
        if self.images.keys() != self.files.keys():
            raise ValueError(f"images: name {', '.join(self.files)}, as files does")
        return self


class FlickrReader(Section):
    """Flickr30k Entities; see vilam/data/readers/flickr.py."""

    kind: Literal["flickr30k_entities"]


class GenomeReader(Section):
    """Region descriptions of Visual Genome; see vilam/data/readers/genome.py."""

    kind: Literal["visual_genome"]


class ParquetReader(Section):
    """Image records as `prepare` writes them, with their card.json."""

    kind: Literal["parquet"]


FormatName = Literal[
    "csv",
    "cvat",
    "datumaro",
    "dicom",
    "florence2",
    "huggingface",
    "kitti",
    "labelme",
    "labelstudio",
    "ms_swift",
    "nnunet",
    "odvg",
    "openimages",
    "paligemma",
    "conversations",
    "supervisely",
    "via",
]
"""The formats that need no options; each is a module of vilam/data/readers."""


class FormatReader(FileReader):
    """A format whose files say where everything is; see vilam/data/readers/formats.py.

    files: annotation files under the root, by split, if they do not have the format's usual names. images: folders
    under the root that are searched for pictures before the usual ones. coordinates: what numbers in a text count, if
    neither the format nor the numbers tell; see vilam/data/readers/units.py.
    """

    kind: FormatName
    files: BySplit | None = None
    images: tuple[Text, ...] = ()
    coordinates: Literal["pixels", "resized", "fractions", "padded", "hundredths", "thousandths"] | None = None


Reader = Annotated[
    VocReader
    | CocoReader
    | RefcocoReader
    | YoloReader
    | TableReader
    | MasksReader
    | VolumesReader
    | LinesReader
    | ShapesReader
    | FlickrReader
    | GenomeReader
    | ParquetReader
    | FormatReader,
    Field(discriminator="kind"),
]


class Recipe(Section):
    """A data set. ``name``: the stem of its file; title, home, layout, splits and leakage are for people.

    exhaustive: whether every object of its categories is marked in every image, so that a category without a region is
    absent. domain: a sentence before every question, such as "This is a chest x-ray."
    """

    name: Text
    title: Text
    home: Text
    licence: Text
    layout: Text
    splits: Text
    leakage: Text
    exhaustive: bool = False
    domain: Sentence = ""
    reader: Reader


def recipe_files(root: Path) -> dict[str, Path]:
    """The recipes of a project, by name; those of the package if the folder has no configs/datasets."""
    own = Layout(root).recipes
    folder = own if own.is_dir() else Layout(shipped()).recipes
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def read_recipe(source: str, root: Path, formats: Sequence[str] = ()) -> Recipe:
    """The recipe by name, or by the path of its file; raises VilamError if it is invalid or unknown.

    formats: names that are no recipe and are valid where the recipe is named, for the message.
    """
    known = recipe_files(root)
    path = named(root, source) if source.endswith(RECIPE_SUFFIXES) else known.get(source)
    if path is None:
        choices = ", ".join(dict.fromkeys([*known, *formats])) or "none"
        raise VilamError(f"prepare.source {source}: choose from {choices}, or name a recipe file (.yaml)")
    content = read_yaml(path)
    if not isinstance(content, dict):
        raise VilamError(f"{path}: not a recipe: expected title, home, licence, layout, splits, leakage and reader")
    return checked(Recipe, {"name": path.stem, **content}, path)
