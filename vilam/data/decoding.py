"""Decodes pictures on all cores, in order and with flat memory: Pillow lets other threads run while it decodes."""

from __future__ import annotations

import os
import struct
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from io import BytesIO
from typing import TypeVar

from PIL import Image, UnidentifiedImageError

from vilam.errors import one_line

Item = TypeVar("Item")
Result = TypeVar("Result")

WAITING = 8
"""Items that wait for each thread, at most."""
ENOUGH = (48, 48)
"""Pixels of a JPEG that are computed, at least."""
_ERRORS = (OSError, SyntaxError, ValueError, EOFError, zlib.error, struct.error, Image.DecompressionBombError)


@dataclass(frozen=True, slots=True)
class Decoded:
    """What decoding a picture told: width and height in pixels, its fingerprint if asked for, or what is wrong."""

    size: tuple[int, int] = (0, 0)
    fingerprint: bytes = b""
    error: str = ""


def decode(content: bytes, fingerprint: Callable[[Image.Image], bytes] | None = None) -> Decoded:
    """Decode all of an encoded picture; ``fingerprint`` is called with it.

    All data of a JPEG are decoded, so that every error is found, but its pixels are computed at a fraction of its size,
    which takes half the time.
    """
    try:
        with Image.open(BytesIO(content)) as image:
            size = image.size
            image.draft(None, ENOUGH)
            image.decodermaxblock = len(content)  # in one block: between two, a thread waits for the others
            image.load()
            return Decoded(size, fingerprint(image) if fingerprint else b"")
    except UnidentifiedImageError:
        return Decoded(error="broken or truncated image (unknown format)")
    except _ERRORS as error:
        return Decoded(error=f"broken or truncated image ({one_line(error)[:80]})")


def in_order(
    function: Callable[[Item], Result], items: Iterable[Item], threads: int | None = None
) -> Iterator[tuple[Item, Result]]:
    """Each item with the function's result, in the order of the items; ``threads``: None for one for each core."""
    count = threads or os.cpu_count() or 1
    waiting: deque[tuple[Item, Future[Result]]] = deque()
    with ThreadPoolExecutor(count) as pool:
        try:
            for item in items:
                waiting.append((item, pool.submit(function, item)))
                if len(waiting) >= count * WAITING:
                    first, future = waiting.popleft()
                    yield first, future.result()
            while waiting:
                first, future = waiting.popleft()
                yield first, future.result()
        finally:
            for _, future in waiting:
                future.cancel()
