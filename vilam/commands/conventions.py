"""``vilam conventions``: the table, or boxes that a model's convention writes and reads again, drawn on a picture."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from PIL import Image

from vilam.commands.predict import open_image
from vilam.errors import VilamError, first_line
from vilam.evaluation.drawing import GREEN, ORANGE, draw
from vilam.geometry.boxes import Box, box_iou
from vilam.models.backbones.checkpoints import open_checkpoint
from vilam.models.build import FILES
from vilam.models.coordinate_formats import CoordinateFormat, Frame
from vilam.models.hf.conventions import convention_files, read_convention
from vilam.tasks.answers import box_text, read_box
from vilam.tasks.base import Reading

SIZE = (1333, 800)
"""Width and height of the picture if none is given: a usual shape, and a multiple of nothing."""
WIDTHS = (0.012, 0.03, 0.08, 0.2, 0.4)
"""Of the boxes, as fractions of the picture's width; their heights are the same fractions of its height."""
CENTRES = ((0.0731, 0.0817), (0.9173, 0.1319), (0.1457, 0.8429), (0.7919, 0.7817), (0.4733, 0.4931))
FRAMES = {"whole": "the picture", "resized": "the resized picture", "padded": "the padded square"}


def show_conventions(root: Path) -> None:
    """Print the conventions of a project and of the package: a box as each writes it, its numbers, its source."""
    files = convention_files(root)
    indent = max(map(len, files)) + 2
    for name in files:
        row = read_convention(name, root)
        own = row.coordinate_format
        print(f"{name:{indent}}{own.box_text((0.1, 0.2, 0.3, 0.4), Frame.filled(*SIZE))}")
        print(f"{'':{indent}}{counted(own)} of {FRAMES[row.frame]}; {row.source}")
    print("\nvilam conventions FOLDER: draw boxes through the convention of a model's folder, and back")


def counted(own: CoordinateFormat) -> str:
    """What a number of a format counts, in words."""
    if own.unit == "pixel":
        return "pixels"
    if own.unit == "cell":
        return f"{own.bins} x {own.bins} cells"
    words = [f"{own.bins} bins"]
    words += ["rounded down"] if own.rounding == "floor" else []
    words += ["read at centres"] if own.reads == "centre" else []
    words += [f"written 0 to {own.end}"] if own.end else []
    return ", ".join(words)


def draw_convention(folder: Path, picture: Path | None, save: Path) -> None:
    """Print how far boxes move, and draw them as they were (green) and as they are read again (orange).

    folder: a model's, or a checkpoint's; of its weights nothing is read.
    """
    from vilam.models.hf.folder import open_tokenizer

    if not (folder / "config.json").is_file():
        raise VilamError(f"{folder}: no config.json: name the folder of a Hugging Face VLM")
    tokenizer = open_checkpoint("vilam conventions", str(folder), open_tokenizer, FILES)
    image = Image.new("RGB", SIZE, "#dddddd") if picture is None else open_image(picture)
    frame = tokenizer.architecture.frame(tokenizer.processor, *image.size)
    for true in boxes(*image.size):
        ids = tokenizer.encode_answer(box_text(true, *image.size), frame)
        found = read_box(tokenizer.decode_answer(ids, frame), *image.size)
        if found is None:
            raise VilamError(f"{folder}: its tokenizer does not write {tokenizer.decode_answer(ids)} as a box again")
        error = max(abs(a - b) for a, b in zip(found, true, strict=True))
        iou = box_iou(found, true)
        print(f"{tokenizer.decode_answer(ids)}  {len(ids) - 1} tokens, at most {error:.2f} px off, IoU {iou:.3f}")
        image = draw(image, Reading(box_xyxy=true), colour=GREEN)
        image = draw(image, Reading(box_xyxy=found), colour=ORANGE, width=1)
    try:
        image.save(save)
    except (OSError, ValueError) as error:
        raise VilamError(f"{save}: could not be written ({first_line(error)}): name a .png file elsewhere") from None
    print(f"{save}: green as they are, orange as they are read again")


def boxes(width: int, height: int) -> Iterator[Box]:
    """Boxes of several sizes all over a picture, in pixels."""
    for part, (x, y) in zip(WIDTHS, CENTRES, strict=True):
        across, down = part * width / 2, part * height / 2
        yield x * width - across, y * height - down, x * width + across, y * height + down
