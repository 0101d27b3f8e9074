"""``vilam predict``: one question about one picture, or two, JSON on stdout, the answer drawn on request."""

from __future__ import annotations

import json
from pathlib import Path

from PIL import Image

from vilam.errors import VilamError
from vilam.evaluation.drawing import draw, fit
from vilam.geometry.boxes import Box
from vilam.inference.predictor import GroundingResult, Predictor
from vilam.tasks.base import Reading


def predict(
    model: str,
    image: Path,
    task: str,
    text: str | None,
    box: Box | None,
    picture: Path | None,
    then: str | None = None,
) -> None:
    """Ask ``task`` (locate, segment, keypoints, classify, describe) and print the answer; VilamError on bad input.

    then: what is asked of the box that was found, in a second turn: classify, describe. Its answer stands under "then";
    null where the box could not be read.
    """
    opened, predictor = open_picture(image), Predictor.from_pretrained(model)
    found = getattr(predictor, task)(opened, box if box is not None else text)
    told = {"image": str(image), **found.as_dict()}
    if then is not None:
        told["then"] = getattr(predictor, then)(opened, found.box_xyxy).as_dict() if found.box_xyxy else None
    if picture is not None:
        save_picture(opened, found, box, text or found.words or "", picture)
    print(json.dumps(told, indent=2))


def open_picture(path: Path) -> Image.Image:
    """The picture in a file, as RGB; raises VilamError where it is missing, broken or no picture."""
    try:
        return Image.open(path).convert("RGB")
    except FileNotFoundError:
        raise VilamError(f"{path}: not found") from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise VilamError(f"{path}: not a readable picture ({error}): give a PNG or JPEG file") from None


def save_picture(image: Image.Image, found: GroundingResult, box: Box | None, label: str, path: Path) -> None:
    """Draw the answer, or the box that was asked about, on the picture and save it."""
    reading = Reading(found.box_xyxy or box, found.boxes, found.points, found.polygons)
    enlarged, scale = fit(image)
    try:
        draw(enlarged, reading, f"{label} {found.confidence:.2f}", scale=scale).save(path)
    except (OSError, ValueError) as error:
        raise VilamError(f"{path}: could not be written ({error}): name a .png or .jpg file") from None
