"""Conventions: how a vision-language model of transformers writes places, how it is asked, and what its parts are.

    checkpoints: google/paligemma-3b-mix-448, google/paligemma2-3b-pt-448
    source: 'PaliGemma (arXiv 2407.07726): 1,024 tokens, y before x'
    version: transformers 5.23.0
    coordinates: {bins: 1023, number: '<loc{:04d}>'}
    box: '{y1}{x1}{y2}{x2}'
    points: {before: '[', point: '{y}{x}', between: ' ', after: ']'}
    prompt: '<image>{}'
    vision: [model.vision_tower]
    aligner: [model.multi_modal_projector]

The name of a file is the ``model_type`` in a checkpoint's config.json. The files of a project's own configs/conventions
come before those of the package. ``like: qwen3_vl`` takes from another convention what the file does not say.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from vilam.config import Count, Section, checked, read_yaml
from vilam.errors import VilamError
from vilam.layout import Layout, project, shipped
from vilam.models.coordinate_formats import CoordinateFormat
from vilam.models.place_texts import NUMBER, PointsTemplate, Template

Text = Annotated[str, Field(min_length=1)]
Names = tuple[Text, ...]
CORNERS = (("x1", "y1", "x2", "y2"), ("y1", "x1", "y2", "x2"))
"""The numbers of a box, in the orders that can be written."""
CELLS = (("first", "last"),)


def _is_number(text: str) -> str:
    try:
        written = {text.format(7), text.format(8)}
    except (ValueError, IndexError, KeyError) as error:
        raise ValueError(f"no format of a number, such as {{:d}} or <loc{{:04d}}>: {error}") from None
    if len(written) == 1 or text.count("{") != 1:
        raise ValueError("expected one number in braces, such as {:d} or <loc{:04d}>")
    return text


def _is_template(text: str) -> str:
    try:
        Template.parse(text)
    except ValueError as error:
        raise ValueError(f"no template: {error}") from None
    return text


Number = Annotated[str, AfterValidator(_is_number)]
Fields = Annotated[str, AfterValidator(_is_template)]


class Coordinates(Section):
    """What a number counts; see `CoordinateFormat`."""

    unit: Literal["side", "pixel", "cell"] = "side"
    bins: Count = 1000
    number: Number = "{:d}"
    end: Count | None = None
    rounding: Literal["round", "floor"] = "round"
    reads: Literal["edge", "centre"] = "edge"

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.unit != "side" and (self.end, self.rounding, self.reads) != (None, "round", "edge"):
            raise ValueError(f"unit {self.unit}: end, rounding and reads are for unit side")
        if (self.end is None) == self.number.partition("}")[0].endswith("f"):
            raise ValueError(
                "decimals (a number such as {:.2f}) need end, the number at the end of a side; others none"
            )
        return self


class Points(Section):
    """The texts of a list of points, which polygons are too; ``{n}`` in ``point`` counts them from 1 on."""

    before: str = "["
    point: Fields = "[{x}, {y}]"
    between: str = ", "
    after: str = "]"


class Convention(Section):
    """A row of the table.

    checkpoints: for people. source: the document or code that says how places are written; version: of that document
    or code. frame: what coordinates are counted in: the ``whole`` image, the image as it is ``resized`` to whole
    patches, or the square that it is ``padded`` to. prompt: the text that asks a question (``{}``) if there is no chat
    template. answer_prefix: the text before an answer's first word. answer_start: a token with which every answer
    begins, as decoders with a forced first token write it. counts_padding: whether generation counts the
    padding before a text among its positions, so that each answer must be generated alone. refuses_long: whether the
    processor refuses pictures that are more than 200 times as long as wide. sharing: ``fork`` if questions may share
    their picture (vilam/models/hf/sharing.py), ``tower`` if they may share what the vision tower makes of it
    (vilam/models/hf/towers.py), a row for each otherwise. vision, aligner: prefixes of the names of
    the parts' modules and parameters; the longest match counts, and all others are the language model's.
    """

    checkpoints: Text
    source: Text
    version: Text
    coordinates: Coordinates = Coordinates()
    box: Fields = "[{x1}, {y1}, {x2}, {y2}]"
    points: Points = Points()
    frame: Literal["whole", "resized", "padded"] = "whole"
    prompt: Text | None = None
    answer_prefix: str = ""
    answer_start: str = ""
    counts_padding: bool = False
    refuses_long: bool = False
    sharing: Literal["rows", "tower", "fork"] = "rows"
    vision: Annotated[Names, Field(min_length=1)]
    aligner: Annotated[Names, Field(min_length=1)]

    @model_validator(mode="after")
    def _places_can_be_read(self) -> Self:
        box, point = Template.parse(self.box), Template.parse(self.points.point)
        is_cell = self.coordinates.unit == "cell"
        allowed = CELLS if is_cell else CORNERS
        if box.fields not in allowed:
            raise ValueError(f"box: expected {' or '.join(_braces(each) for each in allowed)}, found {self.box}")
        wanted = ("cell",) if is_cell else tuple(name.removesuffix("1") for name in box.fields[:2])
        if point.numbers != wanted:
            raise ValueError(
                f"points.point: expected {_braces(wanted)} in this order, as in box; {{{NUMBER}}} may be there"
            )
        return self

    @model_validator(mode="after")
    def _numbers_are_apart(self) -> Self:
        if not self.coordinates.number.startswith("{"):
            return self
        inner = [*Template.parse(self.box).texts[1:-1], *Template.parse(self.points.point).texts[1:-1]]
        if "" in inner:
            raise ValueError("box, points.point: numbers that are digits alone need a text between them")
        return self

    @model_validator(mode="after")
    def _asks_the_question(self) -> Self:
        if self.prompt is not None and "{}" not in self.prompt:
            raise ValueError("prompt: expected {} where the question is, such as <image>{}")
        return self

    @model_validator(mode="after")
    def _has_one_tower(self) -> Self:
        if self.sharing == "tower" and len(self.vision) != 1:
            raise ValueError("sharing: tower: expected one module in vision")
        return self

    @property
    def coordinate_format(self) -> CoordinateFormat:
        """How this convention writes coordinates."""
        points = PointsTemplate(
            self.points.before, Template.parse(self.points.point), self.points.between, self.points.after
        )
        coordinates = self.coordinates.model_dump()
        return CoordinateFormat(**coordinates, source=self.source, box=Template.parse(self.box), points=points)


def _braces(names: tuple[str, ...]) -> str:
    return " ".join(f"{{{name}}}" for name in names)


def convention_files(root: Path) -> dict[str, Path]:
    """The files of conventions by model_type: those of the package, and before them those of the project ``root``."""
    folders = [Layout(each).conventions for each in (shipped(), project(root), root)]
    return {path.stem: path for folder in folders for path in sorted(folder.glob("*.yaml"))}


def read_convention(model_type: str, root: Path) -> Convention:
    """The convention of a model_type; raises VilamError if there is none, or its file is invalid."""
    files = convention_files(root)
    if model_type not in files:
        known = ", ".join(files)
        raise VilamError(
            f"the coordinate format of {model_type} is not known: write configs/conventions/{model_type}.yaml, or "
            f"choose one of {known}"
        )
    return checked(Convention, _content(model_type, files), files[model_type])


def _content(model_type: str, files: dict[str, Path]) -> dict[str, Any]:
    """The content of a file, with what it takes from others."""
    names, content = [model_type], _mapping(files[model_type])
    while (like := content.pop("like", None)) is not None:
        if like in names or like not in files:
            raise VilamError(f"{files[names[-1]]}: like: {like}: expected another one of {', '.join(files)}")
        names.append(like)
        content = {**_mapping(files[like]), "sharing": "rows", **content}  # it is proven for each model_type
    return content


def _mapping(path: Path) -> dict[str, Any]:
    content = read_yaml(path)
    if not isinstance(content, dict):
        raise VilamError(f"{path}: not a convention: expected checkpoints, source, version, vision, aligner and others")
    return content
