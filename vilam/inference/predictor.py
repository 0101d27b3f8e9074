"""The public way to ask a trained model about an image.

predictor = Predictor.from_pretrained("models:/vilam@champion")
predictor.locate(image, "the red circle").box_xyxy
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from vilam.data.opening import open_picture
from vilam.data.pixels import as_rgb
from vilam.data.records import Expression, ImageRecord, Point, Polygon, Region
from vilam.errors import VilamError
from vilam.geometry.boxes import Box, clip_box
from vilam.inference.certainty import CERTAINTY, Located, certainties
from vilam.inference.generate import Answer, Request, generate
from vilam.inference.model import Model
from vilam.inference.resolve import model_folder
from vilam.inference.typed import as_read, check_length
from vilam.models.build import LoadedModel, load_model
from vilam.models.device import autocast, best_device, precision
from vilam.models.interface import ImageBatch
from vilam.tasks import ALL_TASKS, GROUP_TASKS, TASKS
from vilam.tasks.presence import probability_of_yes

METHODS = {
    "locate": "rec_box",
    "segment": "rec_mask",
    "keypoints": "rec_keypoints",
    "find_all": "rec_every",
    "presence": "presence",
    "classify": "reg_class",
    "describe": "reg_caption",
}
"""The task of each method of `Predictor` that asks a question."""
AT_ONCE = 16
"""Questions about one image that are answered together, at most; it bounds the memory."""


@dataclass(frozen=True, slots=True)
class GroundingResult:
    """An answer. Geometry is in absolute pixels of the input image, x to the right and y down.

    Only the fields of the task are set; the others are None. If the answer could not be parsed, all of them are None
    (`task`, `text` and `confidence` are always set).

    task: name of the task, such as ``rec_box``. text: the answer as the model wrote it, coordinates 0-1000.
    confidence: geometric mean of the probabilities of the answer's tokens, 0..1.
    box_xyxy: (x1, y1, x2, y2) of `locate`. polygons: outer rings of `segment`. points: (x, y) of `keypoints`, in the
    order of the category's schema; (0, 0) means that the point is unlabelled. words: the category of
    `classify`, the expression of `describe`, "yes" or "no" of `presence`. boxes: of `find_all`; () if it found none.
    probability: of "yes" in `presence`, 0..1. uncertain: of `locate`, whether the box may well show something else,
    below the threshold that is kept with the model; None if there is none (docs/evaluation.md).
    """

    task: str
    text: str
    confidence: float
    box_xyxy: Box | None = None
    polygons: tuple[Polygon, ...] | None = None
    points: tuple[Point, ...] | None = None
    words: str | None = None
    boxes: tuple[Box, ...] | None = None
    probability: float | None = None
    uncertain: bool | None = None

    def as_dict(self) -> dict[str, Any]:
        """The fields that are set, for JSON.

        Returns: a dict from field names to numbers, strings and nested tuples; fields that are None are left out.
        """
        return {name: value for name, value in asdict(self).items() if value is not None}


class Predictor:
    """A trained model that answers one question, or several about one image (`ask`).

    An expression may be typed in any case: a model that learnt its words here reads them as it learnt them (`as_read`
    of vilam/inference/typed.py).

    Every method takes a PIL image of any size and mode, and returns a `GroundingResult` in pixels of that image, turned
    as its orientation tag says. Some Hugging Face VLMs refuse images that are very long and thin; every method raises
    VilamError for these.
    """

    def __init__(self, loaded: LoadedModel) -> None:
        """Takes over a loaded model and moves it to the GPU if there is one.

        Args:
            loaded: the result of `vilam.models.build.load_model`.
        """
        network = loaded.network.to(best_device()).eval()
        network.cast_frozen(precision("auto"))
        self.model = Model.for_data(network, loaded.tokenizer, loaded.card)
        self.trained_tasks = frozenset(loaded.info.get("tasks", ()))
        self._threshold: float | None = loaded.info.get(CERTAINTY, {}).get("threshold")

    @classmethod
    def from_pretrained(cls, source: str | Path, root: Path | None = None) -> Predictor:
        """Opens a trained model.

        Args:
            source: a model folder, or ``models:/NAME@ALIAS`` or ``models:/NAME/VERSION`` of the MLflow registry.
            root: the project folder with the registry; None for the current folder.

        Returns: the predictor.

        Raises:
            VilamError: if there is no such model or it is damaged.
        """
        return cls(load_model(model_folder(str(source), root or Path.cwd())))

    def open_image(self, source: str | Path | bytes) -> Image.Image:
        """Opens a picture as those were opened that the model was trained on, DICOM and NIfTI of one slice included.

        Args:
            source: a file, or its content.

        Returns: the upright picture as RGB; grey values of more than 8 bits are shown by the model's own window.

        Raises:
            OSError: if it cannot be read.
            VilamError: for a medical file if SimpleITK is not installed.
        """
        return open_picture(Path(source) if isinstance(source, str) else source, self.model.card.levels)

    def locate(self, image: Image.Image, expression: str) -> GroundingResult:
        """Finds the region that an expression means, as a box (task ``rec_box``).

        Args:
            image: the image to search, of any size and mode.
            expression: words that mean one region, such as "the red circle".

        Returns: a result with ``box_xyxy``, (x1, y1, x2, y2) in pixels; None if the answer could not be parsed; and
            ``uncertain``.

        Raises:
            VilamError: if the expression says nothing or is longer than the model reads.
        """
        return self._one(image, "locate", expression)

    def find_all(self, image: Image.Image, expression: str) -> GroundingResult:
        """Finds all regions that an expression means, as boxes (task ``rec_every``).

        Args:
            image: the image to search, of any size and mode.
            expression: words that mean any number of regions.

        Returns: a result with ``boxes``, a tuple of (x1, y1, x2, y2) in pixels, () if nothing fits; None if the answer
            could not be parsed.

        Raises:
            VilamError: if the expression says nothing or is longer than the model reads, or the model was not trained
                on this task.
        """
        return self._one(image, "find_all", expression)

    def presence(self, image: Image.Image, expression: str) -> GroundingResult:
        """Says whether the image holds anything that an expression means (task ``presence``).

        Args:
            image: the image to search, of any size and mode.
            expression: words that mean any number of regions.

        Returns: a result with ``words`` ("yes" or "no") and the ``probability`` of yes, 0..1; both are None if the
            answer could not be parsed.

        Raises:
            VilamError: if the expression says nothing or is longer than the model reads, or the model was not trained
                on this task.
        """
        return self._one(image, "presence", expression)

    def segment(self, image: Image.Image, expression: str) -> GroundingResult:
        """Segments the region that an expression means (task ``rec_mask``).

        Args:
            image: the image to search, of any size and mode.
            expression: words that mean one region.

        Returns: a result with ``polygons``, outer rings of 25 points (x, y) in pixels, with the first point not
            repeated at the end; None if the answer could not be parsed.

        Raises:
            VilamError: if the expression says nothing or is longer than the model reads.
        """
        return self._one(image, "segment", expression)

    def keypoints(self, image: Image.Image, expression: str) -> GroundingResult:
        """Finds the keypoints of the region that an expression means (task ``rec_keypoints``).

        Args:
            image: the image to search, of any size and mode.
            expression: words that mean one region.

        Returns: a result with ``points``, (x, y) in pixels in the order of the category's schema, (0, 0) if unlabelled;
            None if the answer could not be parsed.

        Raises:
            VilamError: if the expression says nothing or is longer than the model reads, or the data that the model was
                trained on has no keypoints.
        """
        return self._one(image, "keypoints", expression)

    def classify(self, image: Image.Image, box_xyxy: Box) -> GroundingResult:
        """Names the category of the object in a box (task ``reg_class``).

        Args:
            image: the image of the box, of any size and mode.
            box_xyxy: (x1, y1, x2, y2) in absolute pixels of the image; it is clipped to the image.

        Returns: a result with ``words``, one of the categories of the model's training data; never None.

        Raises:
            VilamError: if the box is empty or lies outside of the image.
        """
        return self._one(image, "classify", box_xyxy)

    def describe(self, image: Image.Image, box_xyxy: Box) -> GroundingResult:
        """Writes an expression for the object in a box (task ``reg_caption``).

        Args:
            image: the image of the box, of any size and mode.
            box_xyxy: (x1, y1, x2, y2) in absolute pixels of the image; it is clipped to the image.

        Returns: a result with ``words``, the expression; None if the answer has none.

        Raises:
            VilamError: if the box is empty or lies outside of the image.
        """
        return self._one(image, "describe", box_xyxy)

    def ask(self, image: Image.Image, questions: Sequence[tuple[str, str | Box]]) -> list[GroundingResult | VilamError]:
        """Asks several questions about one image, which is prepared and encoded for all of them together.

        Args:
            image: the image of the questions, of any size and mode.
            questions: for each the name of the method that asks it alone, and its expression or box: ``("locate", "the
                red circle")``, ``("classify", (10, 20, 110, 90))``.

        Returns: for each question its result, as its method returns it, or the error that its method raises.

        Raises:
            VilamError: if the image has no pixels or the model refuses it.
        """
        image = as_rgb(image, self.model.card.levels)
        record = self._record(image)
        network = self.model.network
        with torch.no_grad(), autocast(network, precision("auto")):
            images = network.preprocess([image])
            asked = [self._asked(record, images, *question) for question in questions]
            valid = [question for question in asked if isinstance(question, _Asked)]
            parts = [valid[start : start + AT_ONCE] for start in range(0, len(valid), AT_ONCE)]
            results = iter([result for part in parts for result in self._answers(record, images, part)])
            return [next(results) if isinstance(question, _Asked) else question for question in asked]

    def _one(self, image: Image.Image, method: str, about: str | Box) -> GroundingResult:
        result = self.ask(image, [(method, about)])[0]
        if isinstance(result, VilamError):
            raise result
        return result

    def _asked(self, record: ImageRecord, images: ImageBatch, method: str, about: object) -> _Asked | VilamError:
        """A question as the model gets it, or what is wrong with it."""
        try:
            if method not in METHODS:
                raise VilamError(f"{method!r}: no such question: ask one of {', '.join(METHODS)}")
            task = METHODS[method]
            self._check_task(task)
            if ALL_TASKS[task].direction == "reg":
                expression = ""
                question = TASKS[task].question(0, record, Region("", _inside(about, record), ""), None)
            else:
                expression = as_read(about, self.model)
                question = _question(task, record, expression)
            check_length(self.model, images, question, self.model.grammars[task])
        except VilamError as error:
            return error
        return _Asked(task, question, expression)

    def _check_task(self, task: str) -> None:
        if task in GROUP_TASKS and task not in self.trained_tasks:
            raise VilamError(f"{task}: the model was not trained on it: add it to train.tasks and train again")
        if not self.model.grammars[task].alternatives and not self.model.card.categories:
            raise VilamError(f"{task}: the model was not trained here, and knows no categories: ask something else")
        if not self.model.grammars[task].alternatives:
            name = self.model.card.name
            raise VilamError(f"{task}: the model was trained on {name}, which has none: ask something else")

    def _record(self, image: Image.Image) -> ImageRecord:
        """A record of the image with all that the tasks need for a question."""
        if not (image.width and image.height):
            raise VilamError(f"the image has no pixels: its size is {image.width} x {image.height}")
        return ImageRecord("", "", b"", image.width, image.height, "", "", domain=self.model.card.domain)

    def _answers(self, record: ImageRecord, images: ImageBatch, asked: Sequence[_Asked]) -> list[GroundingResult]:
        """Questions -> tokens -> answer texts -> pixels."""
        requests = [Request(0, each.question, self.model.grammars[each.task]) for each in asked]
        answers = generate(self.model, images, requests)
        results = [_result(each.task, answer, record) for each, answer in zip(asked, answers, strict=True)]
        if self._threshold is None:
            return results
        found = {
            index: Located(0, record, each.expression, result.box_xyxy, result.confidence)
            for index, (each, result) in enumerate(zip(asked, results, strict=True))
            if each.task == "rec_box" and result.box_xyxy is not None
        }
        known = certainties(self.model, images, list(found.values()))
        for index, certainty in zip(found, known, strict=True):
            results[index] = replace(results[index], uncertain=certainty < self._threshold)
        return results


@dataclass(frozen=True, slots=True)
class _Asked:
    """A question as the model gets it; ``expression``: "" if it is about a box."""

    task: str
    question: str
    expression: str


def _question(task: str, record: ImageRecord, expression: str) -> str:
    if task in GROUP_TASKS:
        return GROUP_TASKS[task].question(0, record, expression)
    whole = Region("", (0.0, 0.0, float(record.width), float(record.height)), "")
    return TASKS[task].question(0, record, whole, Expression(expression))


def _result(task: str, answer: Answer, record: ImageRecord) -> GroundingResult:
    reading = ALL_TASKS[task].parse(answer.text, record.width, record.height)
    if reading is None:
        return GroundingResult(task, answer.text, answer.confidence)
    return GroundingResult(
        task,
        answer.text,
        answer.confidence,
        reading.box_xyxy,
        reading.polygons,
        reading.points,
        reading.text,
        reading.boxes,
        probability_of_yes(reading, answer.probability) if task == "presence" else None,
    )


def _inside(box_xyxy: object, record: ImageRecord) -> Box:
    """The part of a box that lies in the image."""
    try:
        if isinstance(box_xyxy, str):
            raise TypeError
        x1, y1, x2, y2 = (float(number) for number in box_xyxy)  # type: ignore[attr-defined]
    except (TypeError, ValueError):
        raise VilamError(f"box {box_xyxy!r}: expected four numbers x1, y1, x2, y2 in pixels") from None
    x1, y1, x2, y2 = clip_box((x1, y1, x2, y2), record.width, record.height)
    if not (x1 < x2 and y1 < y2):  # NaN is refused too
        raise VilamError(f"box {box_xyxy}: outside of the {record.width} x {record.height} image or empty")
    return (x1, y1, x2, y2)
