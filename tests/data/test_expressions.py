"""Rule expressions, checked by an independent parser of their English."""

import json
import os
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vilam.data.expressions import add_rule_expressions, rule_expressions
from vilam.data.records import EXPRESSION_KINDS, Expression, ImageRecord, Region

AXES = {"left": (0, 1), "right": (0, -1), "top": (1, 1), "bottom": (1, -1)}
SUPERLATIVES = {"leftmost": "left", "rightmost": "right", "topmost": "top", "lowest": "bottom"}
ORDINALS = {"second": 1, "third": 2, "fourth": 3}


def fits(text: str, record: ImageRecord) -> list[Region]:
    """The regions that an English speaker could mean, with some tolerance of position and size."""
    category, test = _read(text, {region.category for region in record.regions})
    group = [region for region in record.regions if region.category == category]
    return [region for region in group if test(region, group, record)]


def _read(text, categories):
    names = "|".join(sorted(map(re.escape, categories), key=len, reverse=True))
    patterns = {
        rf"the ({names})": lambda match: lambda *_: True,
        rf"the ({names}) (?:on|at|in) the (.+)": lambda match: lambda *scene: _near(match[2], *scene),
        rf"the (\w+most|lowest) ({names})": lambda match: lambda *scene: _nth(SUPERLATIVES[match[1]], 0, *scene),
        rf"the (\w+) ({names}) from the (\w+)": lambda match: lambda *scene: _nth(match[3], ORDINALS[match[1]], *scene),
        rf"the (largest|smallest) ({names})": lambda match: lambda *scene: _sized(match[1], *scene),
    }
    for pattern, make in patterns.items():
        match = re.fullmatch(pattern, text)
        if match:
            return next(group for group in match.groups() if group in categories), make(match)
    raise AssertionError(f"not English: {text}")


def _centre(region, record):
    x1, y1, x2, y2 = region.box_xyxy
    return (x1 + x2) / 2 / record.width, (y1 + y2) / 2 / record.height


def _near(position, region, group, record):
    x, y = _centre(region, record)
    if position == "middle":
        return max(abs(x - 0.5), abs(y - 0.5)) < 0.2
    sides = {"left": x < 0.5, "right": x > 0.5, "top": y < 0.5, "bottom": y > 0.5}
    return all(sides[word] for word in position.split())


def _nth(end, rank, region, group, record):
    """Whether the region could have this rank from that end if each box moved by up to 2 % of the image's side."""
    axis, direction = AXES[end]
    here = _centre(region, record)[axis] * direction
    others = [_centre(other, record)[axis] * direction for other in group if other is not region]
    surely_before = sum(other < here - 0.04 for other in others)
    maybe_before = sum(other < here + 0.04 for other in others)
    return surely_before <= rank <= maybe_before


def _sized(word, region, group, record):
    def size(one):
        x1, y1, x2, y2 = one.box_xyxy
        return (x2 - x1) * (y2 - y1)

    others = [size(other) for other in group if other is not region]
    return size(region) * 1.4 > max(others) if word == "largest" else size(region) < min(others) * 1.4


def _check(record: ImageRecord) -> int:
    rules = rule_expressions(record)
    assert len(rules) == len(record.regions)
    for region, expressions in zip(record.regions, rules, strict=True):
        assert len({expression.text for expression in expressions}) == len(expressions)
        for expression in expressions:
            assert expression.kind in EXPRESSION_KINDS and expression.source == "rule"
            assert fits(expression.text, record) == [region], expression.text
    return sum(map(bool, rules))


def _record(boxes: list[tuple[str, tuple[float, ...]]], width: int = 200, height: int = 100) -> ImageRecord:
    regions = tuple(Region(str(i), box, category) for i, (category, box) in enumerate(boxes))
    return ImageRecord("i", "train", b"", width, height, "toy", "CC0-1.0", (), regions)


@st.composite
def records(draw):
    width, height = draw(st.integers(20, 800)), draw(st.integers(20, 800))
    position = st.floats(0, 0.9)
    boxes = []
    for _ in range(draw(st.integers(1, 12))):
        x, y, w, h = draw(position), draw(position), draw(st.floats(0.01, 0.1)), draw(st.floats(0.01, 0.1))
        box = (x * width, y * height, (x + w) * width, (y + h) * height)
        boxes.append((draw(st.sampled_from(("dog", "hot dog", "RBC"))), box))
    return _record(boxes, width, height)


@settings(max_examples=150, deadline=None)
@given(records())
def test_every_expression_fits_exactly_its_region(record):
    _check(record)


def test_each_rule_by_example():
    squares = [("dog", (10.0 + 45 * i, 40.0, 20.0 + 45 * i, 50.0)) for i in range(4)]
    record = _record([*squares, ("cat", (90.0, 2.0, 130.0, 30.0))])
    texts = [[expression.text for expression in expressions] for expressions in rule_expressions(record)]
    assert texts == [
        ["the leftmost dog"],
        ["the second dog from the left", "the third dog from the right"],
        ["the third dog from the left", "the second dog from the right"],
        ["the rightmost dog"],
        ["the cat", "the cat at the top"],
    ]


def test_sizes_and_positions_by_example():
    record = _record(
        [("dog", (0.0, 0.0, 20.0, 10.0)), ("dog", (4.0, 2.0, 40.0, 12.0)), ("dog", (150.0, 80.0, 170.0, 90.0))]
    )
    largest = [expression.text for expression in rule_expressions(record)[1]]
    assert "the largest dog" in largest
    assert {"the dog on the right", "the dog at the bottom right", "the rightmost dog", "the lowest dog"} <= {
        expression.text for expression in rule_expressions(record)[2]
    }


def test_indistinguishable_regions_get_no_expressions():
    record = _record([("dog", (10.0, 10.0, 30.0, 30.0)), ("dog", (11.0, 11.0, 31.0, 31.0))])
    assert rule_expressions(record) == [(), ()]
    assert add_rule_expressions(record) == record


def test_human_expressions_are_kept():
    record = _record([("dog", (10.0, 10.0, 30.0, 30.0)), ("cat", (110.0, 10.0, 130.0, 30.0))])
    human = Region("0", record.regions[0].box_xyxy, "dog", expressions=(Expression("my dog"),))
    described = add_rule_expressions(
        ImageRecord("i", "train", b"", 200, 100, "toy", "x", (), (human, record.regions[1]))
    )
    assert described.regions[0] is human
    assert {expression.source for expression in described.regions[1].expressions} == {"rule"}


@pytest.mark.skipif("VILAM_TEST_DATA" not in os.environ, reason="set VILAM_TEST_DATA to a folder with coco/")
def test_every_expression_of_real_images_fits_exactly_its_region():
    path = Path(os.environ["VILAM_TEST_DATA"]) / "coco" / "instances_keypoints_val2017.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    names = {category["id"]: category["name"] for category in content["categories"]}
    boxes: dict[int, list[tuple[str, tuple[float, ...]]]] = {}
    for annotation in content["annotations"]:
        x, y, w, h = annotation["bbox"]
        boxes.setdefault(annotation["image_id"], []).append((names[annotation["category_id"]], (x, y, x + w, y + h)))
    sizes = {image["id"]: (image["width"], image["height"]) for image in content["images"]}
    described = sum(_check(_record(group, *sizes[image])) for image, group in boxes.items())
    assert described > 0.5 * len(content["annotations"])
