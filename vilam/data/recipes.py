"""Recipes: what a data set is, where its files come from, and how a generic reader is to read them.

    title: Blood cells (BCCD)
    home: https://github.com/Shenggan/BCCD_Dataset
    licence: MIT
    layout: BCCD/Annotations/*.xml, BCCD/JPEGImages/*.jpg, BCCD/ImageSets/Main/{train,val,test}.txt
    splits: train, val and test as its authors list them
    leakage: none known
    reader: {kind: voc}

A recipe is a file of ``configs/datasets``, named by its stem in ``prepare.source``, or any other file, by its path.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from vilam.config import Section, checked, read_yaml
from vilam.errors import VilamError

FOLDER = Path("configs/datasets")
Text = Annotated[str, Field(min_length=1)]
Glob = Annotated[str, Field(min_length=1)]
"""A pattern of paths under the root."""
RefcocoSet = Literal["refcoco", "refcoco_plus", "refcocog_umd", "refcocog_google"]
BySplit = Annotated[dict[str, Glob], Field(min_length=1)]
"""Patterns by split; the one split ``all`` is divided 8 : 1 : 1 by a hash of the image's name."""


class VocReader(Section):
    """Pascal VOC; see vilam/data/readers/voc.py."""

    kind: Literal["voc"]


class CocoReader(Section):
    """COCO JSON; see vilam/data/readers/coco.py.

    files: the JSON file of each split; none: they are found by COCO's names. images: folders in which images are
    sought, before the usual ones.
    """

    kind: Literal["coco"]
    files: BySplit | None = None
    images: tuple[Text, ...] = ()


class RefcocoReader(Section):
    """Expressions of RefCOCO in any of its forms; see vilam/data/readers/refcoco.py. sets: those that are read."""

    kind: Literal["refcoco"]
    sets: Annotated[tuple[RefcocoSet, ...], Field(min_length=1)]


class YoloReader(Section):
    """Text files of boxes and polygons in shares of the image; see vilam/data/readers/yolo.py.

    data: the file that names classes and folders.
    """

    kind: Literal["yolo"]
    data: Text = "data.yaml"


class Columns(Section):
    """Which columns of a table hold what.

    image: the image's name. box: four columns, or one that holds four numbers; empty in a row of an image without
    objects. category, expression, split: likewise, where there are such.
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


class TableReader(Section):
    """CSV or TSV, one row an object; see vilam/data/readers/table.py.

    files: tables by split; with columns.split one file ``all``. images: where an image lies, with ``{image}`` for what
    its column says. box: what its four numbers are. unit: pixels or shares of the sides. category: of all objects,
    where no column says it. categories: names by what stands in the column; a row with another value has no object.
    split_names: splits by what stands in the column. separator: between columns.
    """

    kind: Literal["table"]
    files: BySplit
    columns: Columns
    images: Text
    box: Literal["xyxy", "xywh", "cxcywh"] = "xyxy"
    unit: Literal["pixels", "shares"] = "pixels"
    category: Text | None = None
    categories: dict[str, Text] | None = None
    split_names: dict[str, Text] | None = None
    separator: str = ","

    @model_validator(mode="after")
    def _objects_have_categories(self) -> TableReader:
        if (self.category is None) == (self.columns.category is None):
            raise ValueError("set one of category (of all objects) and columns.category")
        return self


class MasksReader(Section):
    """Images and masks beside them; see vilam/data/readers/masks.py.

    images: by split. mask: the pattern of an image's masks, with ``{stem}`` for the image's name without suffix and
    ``{folder}`` for its folder under the root. category: of all objects; ``{folder}`` is the name of an image's folder.
    values: categories by the masks' pixel value (``"2"``) or colour (``"255,0,0"``), where masks tell them. objects:
    whether each connected part of a mask is an object, or all of it.
    """

    kind: Literal["masks"]
    images: BySplit
    mask: Text
    category: Text | None = None
    values: dict[str, Text] | None = None
    objects: Literal["parts", "whole"] = "whole"

    @model_validator(mode="after")
    def _objects_have_categories(self) -> MasksReader:
        if (self.category is None) == (self.values is None):
            raise ValueError("set one of category (of all objects) and values (categories by pixel value or colour)")
        return self


class ParquetReader(Section):
    """Image records as `prepare` writes them, with their card.json."""

    kind: Literal["parquet"]


Reader = Annotated[
    VocReader | CocoReader | RefcocoReader | YoloReader | TableReader | MasksReader | ParquetReader,
    Field(discriminator="kind"),
]


class Recipe(Section):
    """A data set. ``name``: the stem of its file. What is words here is for people."""

    name: Text
    title: Text
    home: Text
    licence: Text
    layout: Text
    splits: Text
    leakage: Text
    reader: Reader


def recipe_files(root: Path) -> dict[str, Path]:
    """The recipes of a project, by name."""
    return {path.stem: path for path in sorted((root / FOLDER).glob("*.yaml"))}


def read_recipe(source: str, root: Path) -> Recipe:
    """The recipe by name, or by the path of its file; raises VilamError of one line where it is wrong or unknown."""
    known = recipe_files(root)
    path = Path(source) if source.endswith((".yaml", ".yml")) else known.get(source)
    if path is None:
        raise VilamError(f"prepare.source {source}: choose of {', '.join(known) or 'none'}, or a recipe's file .yaml")
    content = read_yaml(path)
    if not isinstance(content, dict):
        raise VilamError(f"{path}: not a recipe: expected title, home, licence, layout, splits, leakage and reader")
    return checked(Recipe, {"name": path.stem, **content}, path)
