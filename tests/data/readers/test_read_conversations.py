"""Conversations: the rows of several trainers, what boxes count, labels that are categories, refusals."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from reading import PROJECT, read, write_image
from transformers.models.kosmos2.processing_kosmos2 import clean_text_and_extract_entities_with_bboxes

from vilam.data.readers import find_recipe
from vilam.data.readers.units import resized, scaled
from vilam.data.records import ImageRecord
from vilam.errors import VilamError

CHATS = {"kind": "conversations"}
PIXELS = {**CHATS, "coordinates": "pixels"}
SIZE = (200, 100)


def write(root: Path, *rows: dict[str, Any], size: tuple[int, int] = SIZE, file: str = "rows.json") -> Path:
    """A data set of rows about the image images/a.jpg of this size."""
    write_image(root / "images" / "a.jpg", size)
    (root / file).write_text(json.dumps(list(rows)))
    return root


def chat(*texts: str) -> dict[str, Any]:
    """A row as LLaVA and Qwen's trainer have it; questions and answers in turns."""
    values = [{"from": ("human", "gpt")[number % 2], "value": text} for number, text in enumerate(texts)]
    return {"image": "images/a.jpg", "conversations": values}


def record_of(reader: dict[str, Any], root: Path) -> ImageRecord:
    (record,), problems = read(reader, root)
    assert problems == []
    return record


def texts(record: ImageRecord) -> list[list[str]]:
    return [[each.text for each in region.expressions] for region in record.regions]


@pytest.mark.parametrize(
    "row",
    [
        {
            "conversations": [
                {"from": "user", "value": "Picture 1: <img>/data/images/a.jpg</img>\nFind it"},
                {"from": "assistant", "value": "<ref>the fox</ref><box>(100,200),(500,600)</box>"},
            ]
        },
        {
            "messages": [
                {"role": "system", "content": "Answer in short."},
                {"role": "user", "content": "<image>Find <|object_ref_start|>the fox<|object_ref_end|>"},
                {"role": "assistant", "content": "<|box_start|>(100,200),(500,600)<|box_end|>"},
            ],
            "images": [{"path": "a.jpg"}],
        },
        {
            "messages": [
                {
                    "role": "user",
                    "content": [
                        {"type": "image", "image": "file://images/a.jpg"},
                        {"type": "text", "text": "Where is the fox?"},
                    ],
                },
                {"role": "assistant", "content": [{"type": "text", "text": "<box>[[100, 200, 500, 600]]</box>"}]},
            ]
        },
        {
            "query": "Where is the fox?",
            "response": "<box>(100,200),(500,600)</box>",
            "history": [["Hello", "Hello!"]],
            "images": "images/a.jpg",
        },
        {
            "conversation": [{"human": "Where is the fox?", "assistant": "<box>(100,200),(500,600)</box>"}],
            "image": "images/a.jpg",
        },
    ],
)
def test_the_rows_of_several_trainers(tmp_path: Path, row: dict[str, Any]) -> None:
    record = record_of(CHATS, write(tmp_path, row))
    assert record.regions[0].box_xyxy == (20, 20, 100, 60) and record.regions[0].category == "object"
    assert texts(record) == [["the fox"]]


def test_a_box_is_asked_for_and_described(tmp_path: Path) -> None:
    row = chat(
        "<image>\nPlease provide the bounding box coordinate of the region this sentence describes: the fox.",
        "[0.1, 0.2, 0.5, 0.6]",
        "Please provide a short description for this region: [0.25, 0.0, 0.5, 1.0].",
        "the tall owl",
    )
    record = record_of(CHATS, write(tmp_path, row, size=(100, 100)))
    assert [region.box_xyxy for region in record.regions] == [(10, 20, 50, 60), (25, 0, 50, 100)]
    assert texts(record) == [["the fox"], ["the tall owl"]]


def test_fractions_of_oblong_pictures_must_be_told(tmp_path: Path) -> None:
    root = write(tmp_path, chat("Where is the fox?", "[0.1, 0.3, 0.5, 0.6]"))
    with pytest.raises(
        VilamError, match=r"not square.* coordinates: \.\.\.} and one of fractions .* or padded"
    ) as error:
        read(CHATS, root)
    assert "\n" not in str(error.value)
    assert record_of({**CHATS, "coordinates": "fractions"}, root).regions[0].box_xyxy == pytest.approx(
        (20, 30, 100, 60)
    )
    padded = record_of({**CHATS, "coordinates": "padded"}, root)
    assert padded.regions[0].box_xyxy == pytest.approx((20, 10, 100, 70))  # the square is 200 x 200, with 50 above


def test_fractions_beside_the_picture_in_a_padded_square_are_of_the_picture(tmp_path: Path) -> None:
    root = write(tmp_path, chat("Where is the fox?", "[0.1, 0.1, 0.5, 0.6]"))
    assert record_of(CHATS, root).regions[0].box_xyxy == pytest.approx((20, 10, 100, 60))


def test_whether_json_boxes_are_pixels_or_thousandths_must_be_told(tmp_path: Path) -> None:
    root = write(tmp_path, chat("Detect the fox", '```json\n[{"bbox_2d": [20, 20, 100, 60], "label": "fox"}]\n```'))
    with pytest.raises(VilamError, match=r"pixels or thousandths.*coordinates.*pixels \(Qwen2.5-VL\)"):
        read(CHATS, root)
    pixels, thousandths = (record_of({**CHATS, "coordinates": unit}, root) for unit in ("pixels", "thousandths"))
    assert pixels.regions[0].box_xyxy == (20, 20, 100, 60)
    assert thousandths.regions[0].box_xyxy == pytest.approx((4, 2, 20, 6))


def test_a_box_outside_of_its_picture_shows_thousandths(tmp_path: Path) -> None:
    root = write(tmp_path, chat("Detect the fox", '{"bbox_2d": [100, 200, 500, 600], "label": "fox"}'))
    assert record_of(CHATS, root).regions[0].box_xyxy == (20, 20, 100, 60)


def test_numbers_above_1000_show_pixels(tmp_path: Path) -> None:
    root = write(tmp_path, chat("Detect it", '{"bbox_2d": [100, 200, 1400, 600]}'), size=(1500, 700))
    assert record_of(CHATS, root).regions[0].box_xyxy == (100, 200, 1400, 600)
    wide = chat("Detect it", '{"bbox_2d": [0, 0, 1036, 700]}')
    assert record_of(CHATS, write(tmp_path, wide, size=(1023, 700))).regions[0].box_xyxy == (0, 0, 1023, 700)
    both = chat("Detect it", '[{"bbox_2d": [100, 200, 1400, 600]}, {"bbox_2d": [0, 0, 10, 900]}]')
    with pytest.raises(VilamError, match="numbers above 1000 and boxes outside of pictures"):
        read(CHATS, write(tmp_path, both, size=(1500, 700)))


@pytest.mark.parametrize(
    ("size", "expected"),
    [((280, 140), (280, 140)), ((150, 100), (140, 112)), ((30, 20), (84, 56)), ((8000, 4000), (5068, 2520))],
)
def test_the_size_that_qwen_resizes_to(size: tuple[int, int], expected: tuple[int, int]) -> None:
    assert resized(size) == expected


@given(st.tuples(st.integers(30, 3000), st.integers(30, 3000)), st.tuples(*[st.floats(0, 1)] * 4))
def test_units_agree(size: tuple[int, int], box: tuple[float, float, float, float]) -> None:
    width, height = size
    pixels = (box[0] * width, box[1] * height, box[2] * width, box[3] * height)
    thousandths = tuple(1000 * value for value in box)
    side = max(size)
    left, top = (side - width) / 2, (side - height) / 2
    padded = ((pixels[0] + left) / side, (pixels[1] + top) / side, (pixels[2] + left) / side, (pixels[3] + top) / side)
    other = resized(size)
    qwen = (box[0] * other[0], box[1] * other[1], box[2] * other[0], box[3] * other[1])
    for unit, values in (("fractions", box), ("thousandths", thousandths), ("padded", padded), ("resized", qwen)):
        assert scaled(values, unit, size) == pytest.approx(pixels, abs=1e-6)  # type: ignore[arg-type]


def test_labels_are_categories_and_an_empty_list_is_none(tmp_path: Path) -> None:
    rows = [{"bbox_2d": [10, 10, 30, 30], "label": "fox"}, {"bbox_2d": [50, 10, 70, 30], "label": "owl"}]
    row = chat(
        "Find all foxes and owls.", json.dumps(rows), 'Find "a bear"', "[]", "Find the animals", "[50, 10, 70, 30]"
    )
    record = record_of(PIXELS, write(tmp_path, row))
    assert [region.category for region in record.regions] == ["fox", "owl"]
    assert texts(record) == [[], ["the animals"]]
    assert [(group.text, group.region_ids) for group in record.groups] == [("a bear", ())]


def test_labels_that_are_used_once_are_expressions(tmp_path: Path) -> None:
    rows = [{"bbox_2d": [n, 1, n + 9, 9], "label": f"the fox with number {n}"} for n in range(12)]
    record = record_of(PIXELS, write(tmp_path, chat("Find all foxes.", json.dumps(rows))))
    assert texts(record) == [[f"the fox with number {n}"] for n in range(12)]
    assert {region.category for region in record.regions} == {"object"}


def test_rows_that_tell_no_boxes_are_left_out_and_bad_ones_are_told(tmp_path: Path) -> None:
    found = chat("Where is the fox?", "<box>(100,200),(500,600)</box>")
    several = {**found, "image": ["images/a.jpg", "images/b.jpg"]}
    missing = {**found, "image": "c.jpg"}
    remote = {**found, "image": "https://example.org/z.jpg"}
    root = write(tmp_path, found, chat("What is this?", "A fox."), several, missing, remote, {**found, "image": None})
    records, problems = read(CHATS, root)
    assert [len(record.regions) for record in records] == [1] and len(problems) == 4
    assert "row 3: 2 images: in which of them boxes are is not told" in problems[0]
    assert "no file" in problems[1] and "no image is named" in problems[2] and "c.jpg not found" in problems[3]


def test_it_is_recognised_and_chats_without_boxes_are_not(tmp_path: Path) -> None:
    root = write(tmp_path / "boxes", chat("Where is it?", "<box>(100,200),(500,600)</box>"), file="train.json")
    recipe, found = find_recipe("auto", root, PROJECT)
    assert recipe.title.startswith("Conversations") and found == root and not recipe.exhaustive
    with pytest.raises(VilamError, match="no format that is known"):
        find_recipe("auto", write(tmp_path / "none", chat("What is it?", "A fox.")), PROJECT)


def test_patches_of_kosmos_2(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The processor of transformers decodes the same text to the same boxes."""
    patches = "<object><patch_index_0044><patch_index_0863></object>"
    pairs = ("<patch_index_0003><patch_index_0005>", "<patch_index_0100><patch_index_0900>")
    others = f"<object>{'</delimiter_of_multi_objects/>'.join(pairs)}</object>"
    text = f"<grounding> There is<phrase> a snowman</phrase>{patches} by<phrase> two fires</phrase>{others}."
    _, entities = clean_text_and_extract_entities_with_bboxes(text, num_patches_per_side=32)
    expected = {name: [(x1 * 200, y1 * 100, x2 * 200, y2 * 100) for x1, y1, x2, y2 in own] for name, _, own in entities}
    record = record_of(CHATS, write(tmp_path, chat("<image>\nDescribe it.", text), size=(200, 100)))
    found = {one.text: [region.box_xyxy] for region in record.regions for one in region.expressions}
    found |= {one.text: [region.box_xyxy for region in record.members(one)] for one in record.groups}
    assert found.keys() == expected.keys() == {"a snowman", "two fires"}
    for name, boxes in expected.items():
        assert [value for box in found[name] for value in box] == pytest.approx([v for box in boxes for v in box])
    assert "a grid of 32 x 32 patches: each is off by a 64th of a side at most" in caplog.text
