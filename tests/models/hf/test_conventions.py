"""Conventions: every row is valid, a project's own row needs no code, and an invalid one is reported in one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from vilam.config import yaml_text
from vilam.errors import VilamError
from vilam.layout import shipped
from vilam.models.coordinate_formats import Frame
from vilam.models.hf.conventions import convention_files, read_convention
from vilam.models.place_texts import Template

ROW = {
    "checkpoints": "someone/model-7b",
    "source": "its model card",
    "version": "commit 1234abc",
    "vision": ["model.vision"],
    "aligner": ["model.projector"],
}
BOX = (0.1, 0.2, 0.3, 0.4)
SQUARE = Frame.filled(448, 448)


def write(root: Path, name: str = "mine", **changes: object) -> Path:
    """A row of a project, without those of ROW that are None."""
    path = root / "configs" / "conventions" / f"{name}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml_text({key: value for key, value in {**ROW, **changes}.items() if value is not None}))
    return path


@pytest.mark.parametrize("model_type", convention_files(shipped()))
def test_every_convention_is_valid_and_its_box_can_be_read(model_type: str) -> None:
    own = read_convention(model_type, shipped()).coordinate_format
    found = own.read_box(own.box_text(BOX, SQUARE), SQUARE)
    assert found == pytest.approx(BOX, abs=0.5 / (own.bins if own.unit == "side" else 28) + 1e-9)
    points = [(0.5, 0.25), (0.75, 1.0), (0.0, 0.0)]
    read = own.read_points(own.points_text(points, SQUARE), SQUARE)
    assert read is not None
    for point, true in zip(read, points, strict=True):
        assert point == pytest.approx(true, abs=0.5 / (own.bins if own.unit != "pixel" else 448) + 1e-9)


def test_a_row_of_a_project_needs_no_code(tmp_path: Path) -> None:
    """Special tokens, brackets of another kind, numbers of points, floors and centres."""
    write(
        tmp_path,
        coordinates={"rounding": "floor", "reads": "centre", "number": "<loc_{:d}>"},
        box="<|start|>({x1},{y1}),({x2},{y2})<|end|>",
        points={"before": "<points", "point": ' x{n}="{x}" y{n}="{y}"', "between": "", "after": "/>"},
    )
    own = read_convention("mine", tmp_path).coordinate_format
    assert own.box_text((0.1239, 0.2, 0.9999, 1.0), SQUARE) == (
        "<|start|>(<loc_123>,<loc_200>),(<loc_999>,<loc_999>)<|end|>"
    )
    assert own.read_box("<|start|>(<loc_123>,<loc_200>),(<loc_999>,<loc_999>)<|end|>", SQUARE) == pytest.approx(
        (0.1235, 0.2005, 0.9995, 0.9995)
    )
    text = own.points_text([(0.5, 0.25), (1.0, 0.0)], SQUARE)
    assert text == '<points x1="<loc_500>" y1="<loc_250>" x2="<loc_999>" y2="<loc_0>"/>'
    assert own.read_points(text, SQUARE) == [pytest.approx((0.5005, 0.2505)), pytest.approx((0.9995, 0.0005))]


def test_percent_with_a_decimal(tmp_path: Path) -> None:
    write(tmp_path, coordinates={"bins": 1000, "end": 100, "number": "{:.1f}"})
    own = read_convention("mine", tmp_path).coordinate_format
    assert own.box_text((0.1234, 0.2, 0.3, 1.0), SQUARE) == "[12.3, 20.0, 30.0, 100.0]"
    assert own.read_box("[12.3, 20, 30.0, 100.0]", SQUARE) == pytest.approx((0.123, 0.2, 0.3, 1.0))


def test_the_points_of_molmo_2(tmp_path: Path) -> None:
    """As point_formatter.py of allenai/molmo2 writes them: of the first image, numbered, with three digits."""
    points = {"before": '<points coords="1 ', "point": "{n} {x} {y}", "between": " ", "after": '"></points>'}
    write(tmp_path, coordinates={"number": "{:03d}"}, box="{x1} {y1} {x2} {y2}", points=points)
    own = read_convention("mine", tmp_path).coordinate_format
    text = own.points_text([(0.05, 0.1), (0.25, 1.0)], SQUARE)
    assert text == '<points coords="1 1 050 100 2 250 1000"></points>'
    assert own.read_points(text, SQUARE) == [pytest.approx((0.05, 0.1)), pytest.approx((0.25, 1.0))]


def test_a_row_takes_from_another_what_it_does_not_say(tmp_path: Path) -> None:
    write(tmp_path, like="paligemma", prompt="find {}")
    own, other = read_convention("mine", tmp_path), read_convention("paligemma", tmp_path)
    assert (own.prompt, own.box, own.coordinates) == ("find {}", other.box, other.coordinates)
    assert own.checkpoints == ROW["checkpoints"] != other.checkpoints


def test_a_row_of_a_project_comes_before_the_package_s(tmp_path: Path) -> None:
    write(tmp_path, "llava")
    assert read_convention("llava", tmp_path).checkpoints == ROW["checkpoints"]
    assert read_convention("llava", shipped()).checkpoints != ROW["checkpoints"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"source": None}, "source: Field required"),
        ({"boxes": "x"}, "boxes: no such setting"),
        ({"box": "[{x1}, {y1}]"}, r"box: expected \{x1\} \{y1\} \{x2\} \{y2\} or .*, found \[\{x1\}, \{y1\}\]"),
        ({"box": "[{x1}, {y1}"}, r"box: expected"),
        ({"box": "[{x1}, {y1}, {x2}, {y2]"}, r"box: no template"),
        ({"box": "{x1}{y1}{x2}{y2}"}, "digits alone need a text between them"),
        ({"box": "{y1} {x1} {y2} {x2}"}, r"points.point: expected \{y\} \{x\} in this order"),
        ({"coordinates": {"unit": "cell"}}, r"box: expected \{first\} \{last\}"),
        ({"coordinates": {"number": "loc"}}, "coordinates.number: expected one number in braces"),
        ({"coordinates": {"number": "{:q}"}}, "coordinates.number: no format of a number"),
        ({"coordinates": {"number": "{:.2f}"}}, "coordinates: decimals"),
        ({"coordinates": {"unit": "pixel", "rounding": "floor"}}, "coordinates: unit pixel"),
        ({"coordinates": {"bins": 0}}, "coordinates.bins: Input should be greater"),
        ({"prompt": "Question:"}, r"prompt: expected \{\} where the question is"),
        ({"vision": []}, "vision: "),
        ({"frame": "square"}, "frame: Input should be"),
        ({"like": "mine"}, "like: mine: expected another one of"),
        ({"like": "nothing"}, "like: nothing: expected another one of"),
    ],
)
def test_an_invalid_row_is_one_line(tmp_path: Path, changes: dict[str, object], message: str) -> None:
    path = write(tmp_path, **changes)
    with pytest.raises(VilamError, match=message) as error:
        read_convention("mine", tmp_path)
    assert "\n" not in str(error.value) and str(path) in str(error.value)


def test_a_file_that_holds_no_names_is_one_line(tmp_path: Path) -> None:
    path = write(tmp_path)
    path.write_text("- a\n")
    with pytest.raises(VilamError, match=r"not a convention: expected checkpoints"):
        read_convention("mine", tmp_path)


def test_an_unknown_model_type_names_the_file_to_write(tmp_path: Path) -> None:
    with pytest.raises(VilamError, match=r"format of moondream is not known: write configs/conventions/moondream.yaml"):
        read_convention("moondream", tmp_path)


def test_a_template_has_its_literal_braces() -> None:
    template = Template.parse('{{"bbox_2d": [{x1}, {y1}]}}')
    assert (template.texts, template.fields) == (('{"bbox_2d": [', ", ", "]}"), ("x1", "y1"))
