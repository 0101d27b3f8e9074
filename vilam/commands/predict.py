"""``vilam predict``: a question about an image, and a second turn on request; prints JSON, can draw the answer."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from vilam.data.card import CARD, read_card
from vilam.data.opening import open_picture
from vilam.data.records import DatasetCard, Levels
from vilam.errors import VilamError, first_line
from vilam.evaluation.drawing import draw, fit
from vilam.geometry.boxes import Box
from vilam.inference.resolve import model_folder, registered_model
from vilam.layout import Layout
from vilam.models.light import has_light_imports, light_imports
from vilam.tasks.base import Reading

if TYPE_CHECKING:
    from vilam.inference.predictor import GroundingResult, Predictor


def predict(
    model: str,
    image: Path,
    task: str,
    text: str | None,
    box: Box | None,
    save: Path | None,
    then: str | None = None,
) -> None:
    """Ask ``task`` (a method of `Predictor`) and print the answer as JSON; raises VilamError for invalid input.

    then: classify or describe; asks about the predicted box in a second turn. Its answer is under "then", null if there
    is no box. save: the file of a drawing of the answer.
    """
    named, folder = named_and_folder(model, Path.cwd())
    opened = open_image(image, read_card(folder).levels if (folder / CARD).is_file() else None)
    predictor = open_predictor(folder)
    found = getattr(predictor, task)(opened, box if box is not None else text)
    output = {"image": str(image), **found.as_dict()}
    if then is not None:
        output["then"] = getattr(predictor, then)(opened, found.box_xyxy).as_dict() if found.box_xyxy else None
    for line in about(named, predictor.model.card, Path.cwd()):
        print(f"vilam: {line}", file=sys.stderr)
    print(json.dumps(output, indent=2))
    if save is not None:
        save_drawing(opened, found, box, text or found.words or "", save)


def open_predictor(folder: Path) -> Predictor:
    """The model in a folder; imports take most of the time of a question, so it gets only those that it needs."""
    with light_imports() if has_light_imports(folder) else nullcontext():
        from vilam.inference.predictor import Predictor

        return Predictor.from_pretrained(folder)


def named_and_folder(model: str, root: Path) -> tuple[str, Path]:
    """A model as people name it, of the registry with the number of its version, and its folder."""
    if not model.startswith("models:/"):
        return model, model_folder(model, root)
    version, folder = registered_model(model, root)
    return f"{model} (version {version.rpartition('/')[2]})", folder


def about(named: str, trained_on: DatasetCard, root: Path) -> Iterator[str]:
    """Which model is asked, and a warning if it was trained on other data than the project has prepared."""
    if not trained_on.categories:
        yield f"asked {named}, which was not trained here"
        return
    yield f"asked {named}, trained on {trained_on.title}"
    if (Layout(root).records / CARD).is_file():
        own = read_card(Layout(root).records)
        if (own.name, own.categories) != (trained_on.name, trained_on.categories):
            yield f"warning: it was trained on other data than those that this project has prepared, {own.title}"


def open_image(path: Path, levels: Levels | None = None) -> Image.Image:
    """The image in a file, as RGB; raises VilamError if it is missing or cannot be read.

    levels: by which an image of more than 8 bits is shown.
    """
    try:
        return open_picture(path, levels)
    except FileNotFoundError:
        raise VilamError(f"{path}: not found") from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise VilamError(
            f"{path}: not a readable image ({error}): give a picture, such as PNG, JPEG, DICOM or NIfTI of one slice"
        ) from None


def save_drawing(image: Image.Image, found: GroundingResult, box: Box | None, label: str, path: Path) -> None:
    """Draw the answer, or the box of the question, on the image and save it."""
    reading = Reading(found.box_xyxy or box, found.boxes, found.points, found.polygons)
    enlarged, scale = fit(image)
    try:
        doubt = ", uncertain" if found.uncertain else ""
        draw(enlarged, reading, f"{label} {found.confidence:.2f}{doubt}", scale=scale).save(path)
    except FileNotFoundError:
        raise VilamError(f"{path}: no folder {path.parent}: make it, or name a file elsewhere") from None
    except OSError as error:
        raise VilamError(f"{path}: could not be written ({first_line(error)}): name a file elsewhere") from None
    except ValueError as error:
        raise VilamError(f"{path}: could not be written ({error}): name a .png or .jpg file") from None
