"""Pictures are decoded in order, on several threads, and every error of a file is found."""

from __future__ import annotations

import time
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from vilam.data.decoding import decode, in_order


def jpeg(progressive: bool) -> bytes:
    file = BytesIO()
    pixels = np.random.default_rng(2).integers(0, 256, (300, 400, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(file, "JPEG", progressive=progressive)
    return file.getvalue()


def loads(content: bytes) -> bool:
    """Whether Pillow decodes the picture at its full size."""
    try:
        with Image.open(BytesIO(content)) as image:
            image.load()
    except (OSError, SyntaxError):
        return False
    return True


@pytest.mark.parametrize("progressive", [False, True])
def test_a_truncated_jpeg_is_found_wherever_it_ends(progressive: bool) -> None:
    content = jpeg(progressive)
    assert decode(content).size == (400, 300) and not decode(content).error
    for end in [*range(0, len(content), 997), *range(len(content) - 40, len(content) + 1)]:
        assert bool(decode(content[:end]).error) is not loads(content[:end]), end


def test_results_are_in_the_order_of_the_items() -> None:
    def slow(number: int) -> int:
        time.sleep(0.002 * (number % 3))
        return -number

    assert list(in_order(slow, range(50), threads=4)) == [(number, -number) for number in range(50)]
    assert list(in_order(slow, [], threads=4)) == []


def test_an_error_of_the_items_arrives_after_the_results_before_it() -> None:
    def items():  # type: ignore[no-untyped-def]
        yield from range(3)
        raise KeyError("no more")

    found = in_order(abs, items(), threads=1)
    with pytest.raises(KeyError, match="no more"):
        list(found)
