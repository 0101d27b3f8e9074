"""The public way to ask a trained model about an image.

predictor = Predictor.from_pretrained("models:/vilam@champion")
predictor.locate(image, "the red circle").box_xyxy
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from PIL import Image

from vilam.data.pixels import as_rgb
from vilam.data.records import Expression, ImageRecord, Point, Polygon, Region
from vilam.errors import VilamError
from vilam.geometry.boxes import Box, clip_box
from vilam.inference.certainty import CERTAINTY, Located, certainties
from vilam.inference.generate import Request, generate
from vilam.inference.model import Model
from vilam.inference.resolve import model_folder
from vilam.models.build import LoadedModel, load_model
from vilam.models.device import autocast, best_device, precision
from vilam.tasks import ALL_TASKS, GROUP_TASKS, TASKS
from vilam.tasks.presence import probability_of_yes


@dataclass(frozen=True, slots=True)
class GroundingResult:
    """An answer. Geometry is in absolute pixels of the input image, turned upright, x to the right and y down.

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
    """A trained model that answers one question at a time.

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

    def locate(self, image: Image.Image, expression: str) -> GroundingResult:
        """Finds the region that an expression means, as a box (task ``rec_box``).

        Args:
            image: the image to search, of any size and mode.
            expression: words that mean one region, such as "the red circle".

        Returns: a result with ``box_xyxy``, (x1, y1, x2, y2) in pixels; None if the answer could not be parsed; and
            ``uncertain``.

        Raises:
            VilamError: if the expression is empty.
        """
        upright = as_rgb(image)
        found = self._ask_by_expression("rec_box", upright, expression)
        return replace(found, uncertain=self._is_uncertain(upright, _clean(expression), found))

    def find_all(self, image: Image.Image, expression: str) -> GroundingResult:
        """Finds all regions that an expression means, as boxes (task ``rec_every``).

        Args:
            image: the image to search, of any size and mode.
            expression: words that mean any number of regions.

        Returns: a result with ``boxes``, a tuple of (x1, y1, x2, y2) in pixels, () if nothing fits; None if the answer
            could not be parsed.

        Raises:
            VilamError: if the expression is empty or the model was not trained on this task.
        """
        return self._ask_of_groups("rec_every", image, expression)

    def presence(self, image: Image.Image, expression: str) -> GroundingResult:
        """Says whether the image holds anything that an expression means (task ``presence``).

        Args:
            image: the image to search, of any size and mode.
            expression: words that mean any number of regions.

        Returns: a result with ``words`` ("yes" or "no") and the ``probability`` of yes, 0..1; both are None if the
            answer could not be parsed.

        Raises:
            VilamError: if the expression is empty or the model was not trained on this task.
        """
        return self._ask_of_groups("presence", image, expression)

    def segment(self, image: Image.Image, expression: str) -> GroundingResult:
        """Segments the region that an expression means (task ``rec_mask``).

        Args:
            image: the image to search, of any size and mode.
            expression: words that mean one region.

        Returns: a result with ``polygons``, outer rings of 25 points (x, y) in pixels, with the first point not
            repeated at the end; None if the answer could not be parsed.

        Raises:
            VilamError: if the expression is empty.
        """
        return self._ask_by_expression("rec_mask", image, expression)

    def keypoints(self, image: Image.Image, expression: str) -> GroundingResult:
        """Finds the keypoints of the region that an expression means (task ``rec_keypoints``).

        Args:
            image: the image to search, of any size and mode.
            expression: words that mean one region.

        Returns: a result with ``points``, (x, y) in pixels in the order of the category's schema, (0, 0) if unlabelled;
            None if the answer could not be parsed.

        Raises:
            VilamError: if the expression is empty or the data that the model was trained on has no keypoints.
        """
        return self._ask_by_expression("rec_keypoints", image, expression)

    def classify(self, image: Image.Image, box_xyxy: Box) -> GroundingResult:
        """Names the category of the object in a box (task ``reg_class``).

        Args:
            image: the image of the box, of any size and mode.
            box_xyxy: (x1, y1, x2, y2) in absolute pixels of the image; it is clipped to the image.

        Returns: a result with ``words``, one of the categories of the model's training data; never None.

        Raises:
            VilamError: if the box is empty or lies outside of the image.
        """
        return self._ask_by_box("reg_class", image, box_xyxy)

    def describe(self, image: Image.Image, box_xyxy: Box) -> GroundingResult:
        """Writes an expression for the object in a box (task ``reg_caption``).

        Args:
            image: the image of the box, of any size and mode.
            box_xyxy: (x1, y1, x2, y2) in absolute pixels of the image; it is clipped to the image.

        Returns: a result with ``words``, the expression; None if the answer has none.

        Raises:
            VilamError: if the box is empty or lies outside of the image.
        """
        return self._ask_by_box("reg_caption", image, box_xyxy)

    def _ask_by_expression(self, task: str, image: Image.Image, expression: str) -> GroundingResult:
        upright = as_rgb(image)
        whole = (0.0, 0.0, float(upright.width), float(upright.height))
        return self._ask(task, upright, whole, Expression(_clean(expression)))

    def _ask_by_box(self, task: str, image: Image.Image, box_xyxy: Box) -> GroundingResult:
        upright = as_rgb(image)
        return self._ask(task, upright, _inside(box_xyxy, upright), None)

    def _ask(self, task: str, image: Image.Image, box_xyxy: Box, expression: Expression | None) -> GroundingResult:
        if not self.model.grammars[task].alternatives:
            name = self.model.card.name
            raise VilamError(f"{task}: the model was trained on {name}, which has none: ask something else")
        question = TASKS[task].question(0, self._record(image), Region("", box_xyxy, ""), expression)
        return self._answer(task, image, question)

    def _ask_of_groups(self, task: str, image: Image.Image, expression: str) -> GroundingResult:
        if task not in self.trained_tasks:
            raise VilamError(f"{task}: the model was not trained on it: add it to train.tasks and train again")
        upright = as_rgb(image)
        return self._answer(task, upright, GROUP_TASKS[task].question(0, self._record(upright), _clean(expression)))

    def _is_uncertain(self, image: Image.Image, expression: str, found: GroundingResult) -> bool | None:
        if self._threshold is None or found.box_xyxy is None:
            return None
        network = self.model.network
        located = Located(0, self._record(image), expression, found.box_xyxy, found.confidence)
        with autocast(network, precision("auto")):
            certainty = certainties(self.model, network.preprocess([image]), [located])[0]
        return certainty < self._threshold

    def _record(self, image: Image.Image) -> ImageRecord:
        """A record of the image with all that the tasks need for a question."""
        if not (image.width and image.height):
            raise VilamError(f"the image has no pixels: its size is {image.width} x {image.height}")
        return ImageRecord("", "", b"", image.width, image.height, "", "", domain=self.model.card.domain)

    def _answer(self, task: str, image: Image.Image, question: str) -> GroundingResult:
        """Question -> tokens -> answer text -> pixels."""
        network = self.model.network
        with autocast(network, precision("auto")):
            request = Request(0, question, self.model.grammars[task])
            answer = generate(self.model, network.preprocess([image]), [request])[0]
        reading = ALL_TASKS[task].parse(answer.text, image.width, image.height)
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


def _inside(box_xyxy: Box, image: Image.Image) -> Box:
    """The part of a box that lies in the image."""
    try:
        if isinstance(box_xyxy, str):
            raise TypeError
        x1, y1, x2, y2 = (float(number) for number in box_xyxy)
    except (TypeError, ValueError):
        raise VilamError(f"box {box_xyxy!r}: expected four numbers x1, y1, x2, y2 in pixels") from None
    x1, y1, x2, y2 = clip_box((x1, y1, x2, y2), image.width, image.height)
    if not (x1 < x2 and y1 < y2):  # NaN is refused too
        raise VilamError(f"box {box_xyxy}: outside of the {image.width} x {image.height} image or empty")
    return (x1, y1, x2, y2)


def _clean(expression: str) -> str:
    text = " ".join(expression.split()).rstrip(".?!")
    if not text:
        raise VilamError("the expression is empty: say what to look for, such as 'the red circle'")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise VilamError(f"the expression {text!r} is not valid text: check its encoding") from None
    return text
