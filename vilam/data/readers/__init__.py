"""Readers: a file for each source format; all of them yield the same raw rows."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

from vilam.config import PrepareSettings
from vilam.data.readers import (
    coco,
    conversations,
    csv_boxes,
    cvat,
    datumaro,
    dicom,
    florence2,
    huggingface,
    kitti,
    labelme,
    labelstudio,
    ms_swift,
    nnunet,
    odvg,
    openimages,
    paligemma,
    refcoco,
    supervisely,
    via,
    voc,
    yolo,
)
from vilam.data.readers.coco import open_coco
from vilam.data.readers.flickr import open_flickr
from vilam.data.readers.formats import Format, Found
from vilam.data.readers.genome import open_genome
from vilam.data.readers.lines import open_lines
from vilam.data.readers.masks import open_masks
from vilam.data.readers.parquet import open_parquet
from vilam.data.readers.recognition import advice, in_folders, recipe_of, recognise
from vilam.data.readers.refcoco import open_refcoco
from vilam.data.readers.scenes import open_scenes
from vilam.data.readers.shapes import open_shapes
from vilam.data.readers.source import Problem, RawRecord, Source
from vilam.data.readers.table import open_table
from vilam.data.readers.voc import open_voc
from vilam.data.readers.volumes import open_volumes
from vilam.data.readers.yolo import open_yolo
from vilam.data.recipes import (
    UNKNOWN,
    CocoReader,
    FileReader,
    FlickrReader,
    FormatReader,
    GenomeReader,
    LinesReader,
    MasksReader,
    ParquetReader,
    Recipe,
    RefcocoReader,
    ShapesReader,
    TableReader,
    VocReader,
    VolumesReader,
    YoloReader,
    read_recipe,
    recipe_files,
)
from vilam.data.records import Levels
from vilam.errors import VilamError
from vilam.layout import named

logger = logging.getLogger(__name__)

__all__ = [
    "FORMATS",
    "Problem",
    "RawRecord",
    "Source",
    "find_formats",
    "find_recipe",
    "open_files",
    "open_recipe",
    "open_source",
]

FORMATS: tuple[Format, ...] = (
    yolo.FORMAT,
    refcoco.FORMAT,
    coco.FORMAT,
    conversations.FORMAT,
    csv_boxes.FORMAT,
    cvat.FORMAT,
    datumaro.FORMAT,
    dicom.FORMAT,
    florence2.FORMAT,
    huggingface.FORMAT,
    kitti.FORMAT,
    labelme.FORMAT,
    labelstudio.FORMAT,
    ms_swift.FORMAT,
    nnunet.FORMAT,
    odvg.FORMAT,
    openimages.FORMAT,
    paligemma.FORMAT,
    supervisely.FORMAT,
    via.FORMAT,
    voc.FORMAT,
)
"""Every format that needs no recipe, in the order of docs/datasets.md."""
AUTO = "auto"
"""The ``prepare.source`` that looks at the files."""


def open_source(settings: PrepareSettings, seed: int, project: Path) -> Source:
    """The source that the settings name, ``seed`` for generated scenes; raises VilamError if files are missing."""
    if settings.source == "scenes":
        return open_scenes(settings.scenes, seed)
    return open_recipe(*find_recipe(settings.source, named(project, settings.root or "."), project))


def open_recipe(recipe: Recipe, root: Path) -> Source:
    """The data set of a recipe in a folder, with what the recipe says of it; raises VilamError if files are missing."""
    source = open_files(recipe, root)
    window = recipe.reader.window if isinstance(recipe.reader, FileReader) else None
    levels = Levels(window.low, window.high, window.offset) if window else source.levels
    return replace(source, is_exhaustive=recipe.exhaustive, domain=recipe.domain or source.domain, levels=levels)


def find_formats(path: Path) -> list[tuple[Format, Found]]:
    """The formats that a folder or file may be of, the surest first, and those of the folders in it.

    Raises VilamError if it is of none.
    """
    found = recognise(path, FORMATS)
    if not found:
        raise VilamError(f"{path}: no format that is known: {advice(path, FORMATS)}")
    return [*found, *in_folders(path, found, FORMATS)]


def find_recipe(source: str, path: Path, project: Path) -> tuple[Recipe, Path]:
    """The recipe that ``prepare.source`` means for the files in a folder, and the folder in which they are read.

    source: `AUTO`, the name of a recipe or of a format, or a recipe's file. path: ``prepare.root``; for `AUTO` and for
    a format also one file. Raises VilamError if there is no such folder, or it is none of the format.
    """
    formats = {each.name: each for each in FORMATS}
    own = source in formats and source not in recipe_files(project)
    if source != AUTO and not own:
        recipe = read_recipe(source, project, (AUTO, *formats))
        if not path.is_dir():
            raise VilamError(f"{path}: no such folder: set prepare.root to the folder of {recipe.name}")
        return recipe, path
    if own:
        found = recognise(path, (formats[source],))
        if not found:
            each = formats[source]
            raise VilamError(f"{path}: no {each.title}: {each.layout}: {advice(path, FORMATS)}")
    else:
        found = find_formats(path)
    for each, one in found[1:]:
        told = "%s: read as %s; also %s: prepare.source: %s, prepare.root: %s"
        logger.info(told, path, found[0][1].title, one.title, each.name, one.root)
    return recipe_of(*found[0]), found[0][1].root


def open_files(recipe: Recipe, root: Path) -> Source:
    """The data set of a recipe in a folder; raises VilamError if files are missing."""
    recipe = _with_licence(recipe, root)
    match recipe.reader:
        case VocReader():
            return open_voc(root, recipe)
        case CocoReader() as reader:
            return open_coco(root, recipe, reader)
        case RefcocoReader() as reader:
            return open_refcoco(root, recipe, reader)
        case YoloReader() as reader:
            return open_yolo(root, recipe, reader)
        case TableReader() as reader:
            return open_table(root, recipe, reader)
        case MasksReader() as reader:
            return open_masks(root, recipe, reader)
        case VolumesReader() as reader:
            return open_volumes(root, recipe, reader)
        case LinesReader() as reader:
            return open_lines(root, recipe, reader)
        case ShapesReader() as reader:
            return open_shapes(root, recipe, reader)
        case FlickrReader():
            return open_flickr(root, recipe)
        case GenomeReader():
            return open_genome(root, recipe)
        case ParquetReader():
            return open_parquet(root, recipe)
        case FormatReader() as reader:
            return next(each for each in FORMATS if each.name == reader.kind).open(root, recipe, reader)


def _with_licence(recipe: Recipe, root: Path) -> Recipe:
    """The recipe with the first line of the folder's LICENSE, if it names no licence itself."""
    path = root / "LICENSE"
    if recipe.licence != UNKNOWN or not path.is_file():
        return recipe
    lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
    first = next((line.strip() for line in lines if line.strip()), UNKNOWN)
    return recipe.model_copy(update={"licence": first})
