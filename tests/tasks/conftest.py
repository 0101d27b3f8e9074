"""A small data set: one image with one square."""

import pytest

from vilam.data.records import DatasetCard, Expression, ImageRecord, KeypointSchema, Region


@pytest.fixture
def card() -> DatasetCard:
    corners = KeypointSchema(("a", "b", "c", "d"), ((0, 1),), (0.05, 0.05, 0.05, 0.05))
    centre = KeypointSchema(("centre",), (), (0.1,))
    return DatasetCard(
        "toy", ("square", "dot", "house"), {"square": corners, "dot": centre}, ("train",), ("CC0-1.0",), {}
    )


@pytest.fixture
def square() -> Region:
    ring = ((20.0, 10.0), (60.0, 10.0), (60.0, 50.0), (20.0, 50.0))
    keypoints = ((20.0, 10.0, 2), (60.0, 10.0, 1), (60.0, 50.0, 2), (0.0, 0.0, 0))
    expressions = (
        Expression("the red square", "attribute", "generated"),
        Expression("Square on the left", "position", "human"),
    )
    return Region("7", (20.0, 10.0, 60.0, 50.0), "square", (ring,), keypoints, expressions)


@pytest.fixture
def record(square: Region) -> ImageRecord:
    return ImageRecord("img", "train", b"", 200, 100, "toy", "CC0-1.0", (), (square,))
