"""Label Studio's run lengths of a brush: a stream of bits, as the package rle-pack of thi.ng/umbrella writes them.

The stream begins with the number of values (32 bits), the bits of a value less one (5), and four sizes in bits, each
less one (4 each). A run follows another: a bit that tells whether one value is repeated, the number of the size that is
used (2), the run's length less one in that size, and the value once, or as many values as the run is long. The values
are the red, green, blue and alpha of each pixel, row by row.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vilam.data.masks import Mask
from vilam.data.readers.figures import check_pixels

CHANNELS = 4


class _Bits:
    """Reads a stream of bits, the highest of each byte first."""

    def __init__(self, content: bytes) -> None:
        self._content, self._position = content, 0

    def read(self, size: int) -> int:
        """The next ``size`` bits as a number; raises ValueError at the end of the stream."""
        start, end = self._position, self._position + size
        if end > 8 * len(self._content):
            raise ValueError("run lengths that end early")
        self._position = end
        part = int.from_bytes(self._content[start // 8 : (end + 7) // 8], "big")
        return part >> (-end % 8) & ((1 << size) - 1)


def brush_to_mask(rle: Sequence[int], width: int, height: int) -> Mask:
    """The bytes of a brush as a bool mask [height, width]: the pixels of more than half of the highest alpha.

    Raises ValueError if they are not of a picture of these sides.
    """
    check_pixels(width, height)
    bits = _Bits(bytes(rle))
    count = bits.read(32)
    if count != width * height * CHANNELS:
        raise ValueError(f"run lengths of {count // CHANNELS} pixels for a {width}x{height} mask")
    word = bits.read(5) + 1
    sizes = [bits.read(4) + 1 for _ in range(4)]
    values = np.zeros(count, np.uint32)
    start = 0
    while start < count:
        is_repeated = bits.read(1)
        end = start + 1 + bits.read(sizes[bits.read(2)])
        values[start:end] = bits.read(word) if is_repeated else [bits.read(word) for _ in range(start, min(end, count))]
        start = end
    alpha = values.reshape(height, width, CHANNELS)[..., CHANNELS - 1]
    return np.asarray(alpha > alpha.max() // 2)
