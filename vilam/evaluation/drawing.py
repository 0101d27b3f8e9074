"""Draws boxes, polygons, keypoints and labels on images, for `vilam predict` and the gallery of the report."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image, ImageColor, ImageDraw, ImageFont

from vilam.data.pixels import as_rgb
from vilam.data.records import Point
from vilam.geometry.boxes import Box
from vilam.tasks.base import Reading

GREEN = "#1a9850"
ORANGE = "#f46d00"

LINE_WIDTH = 2
SMOOTHING = 2
"""Shapes are drawn this many times larger and then shrunk, so that slanted lines are smooth."""

Bones = Sequence[tuple[int, int]]


def fit(image: Image.Image, small: int = 288, large: int = 480) -> tuple[Image.Image, float]:
    """The image at a size to look at, and the factor it was scaled by.

    If the longer side is under ``small`` pixels, it is enlarged by the largest whole factor that stays within; if it is
    over ``large``, it is reduced to that.
    """
    longer = max(image.size)
    factor = large / longer if longer > large else max(1, small // longer)
    size = (max(1, round(image.width * factor)), max(1, round(image.height * factor)))
    resampling = Image.Resampling.LANCZOS if factor < 1 else Image.Resampling.BICUBIC
    return as_rgb(image).resize(size, resampling), factor


def draw(
    image: Image.Image,
    reading: Reading,
    label: str = "",
    colour: str = ORANGE,
    *,
    bones: Bones = (),
    scale: float = 1,
    width: int = LINE_WIDTH,
) -> Image.Image:
    """A copy of the image (RGB) with the boxes, polygons (lightly filled) and points of a reading, and a label.

    Coordinates are pixels of the original; ``scale`` is the factor by which ``image`` was enlarged since. bones:
    pairs of indices of points to connect. A point at (0, 0) is unlabelled and left out. width: of lines, in pixels of
    ``image``.
    """
    canvas = Image.new("RGBA", (image.width * SMOOTHING, image.height * SMOOTHING))
    pen = _Pen(canvas, colour, scale * SMOOTHING, width)
    pen.polygons(reading.polygons or ())
    for box in _boxes(reading):
        pen.box(box)
    pen.points(reading.points or (), bones)
    shapes = canvas.resize(image.size, Image.Resampling.BOX)
    drawn = Image.alpha_composite(image.convert("RGBA"), shapes).convert("RGB")
    if label:
        _write(drawn, label, colour, _top_left(reading, scale))
    return drawn


class _Pen:
    """Draws on a transparent canvas; each line has a white edge, so that it shows on any background."""

    def __init__(self, canvas: Image.Image, colour: str, scale: float, width: int) -> None:
        self.draw = ImageDraw.Draw(canvas)
        self.colour = ImageColor.getrgb(colour)[:3]
        self.scale = scale
        self.strokes = (((255, 255, 255, 170), width + 2), ((*self.colour, 255), width))

    def box(self, box_xyxy: Sequence[float]) -> None:
        x1, y1, x2, y2 = box_xyxy
        self.line([(x1, y1), (x2, y1), (x2, y2), (x1, y2)], closed=True)

    def polygons(self, rings: Sequence[Sequence[Point]]) -> None:
        for ring in rings:
            if len(ring) > 2:
                self.draw.polygon(self.scaled(ring), fill=(*self.colour, 60))
        for ring in rings:
            self.line(ring, closed=True)

    def points(self, points: Sequence[Point], bones: Bones) -> None:
        for start, end in bones:
            if max(start, end) < len(points) and _labelled(points[start]) and _labelled(points[end]):
                self.line([points[start], points[end]])
        for x, y in self.scaled([point for point in points if _labelled(point)]):
            for fill, width in self.strokes:
                radius = (width + 3) * SMOOTHING / 1.5
                self.draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=fill)

    def line(self, points: Sequence[Point], closed: bool = False) -> None:
        path = self.scaled([*points, *points[: 2 if closed else 0]])  # one corner twice, so that the joint closes
        for fill, width in self.strokes:
            self.draw.line(path, fill=fill, width=width * SMOOTHING, joint="curve")

    def scaled(self, points: Sequence[Point]) -> list[Point]:
        return [(x * self.scale, y * self.scale) for x, y in points]


def _boxes(reading: Reading) -> list[Box]:
    return [*([reading.box_xyxy] if reading.box_xyxy else []), *(reading.boxes or ())]


def _labelled(point: Point) -> bool:
    return point != (0, 0)


def _top_left(reading: Reading, scale: float) -> Point:
    corners = [box[:2] for box in _boxes(reading)]
    points = [*corners, *(reading.points or ()), *(point for ring in reading.polygons or () for point in ring)]
    shown = [point for point in points if _labelled(point)] or [(0.0, 0.0)]
    return min(x for x, _ in shown) * scale, min(y for _, y in shown) * scale


def _write(image: Image.Image, label: str, colour: str, corner: Point) -> None:
    """Writes a label on a coloured background above a corner, moved so that it stays inside the image."""
    pen, font = ImageDraw.Draw(image), ImageFont.load_default(size=13)
    left, top, right, bottom = pen.textbbox((0, 0), label, font=font)
    width, height = right - left + 8, bottom - top + 6
    x = max(0.0, min(corner[0], image.width - width - 1))
    y = max(0.0, corner[1] - height)
    pen.rectangle((x, y, x + width, y + height), fill=colour)
    pen.text((x + 4 - left, y + 3 - top), label, fill="white", font=font)
