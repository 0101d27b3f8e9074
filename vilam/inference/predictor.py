"""The public way to ask a trained model about a picture.

predictor = Predictor.from_pretrained("models:/vilam@champion")
predictor.locate(image, "the red circle").box_xyxy
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from vilam.data.records import Expression as Words
from vilam.data.records import ImageRecord, Point, Polygon, Region
from vilam.errors import VilamError
from vilam.geometry.boxes import clip_box
from vilam.inference.answering import autocast, compile_grammars
from vilam.inference.generate import Request, generate
from vilam.models.build import Trained, load_trained
from vilam.models.device import best_device, precision
from vilam.tasks import ALL_TASKS, GROUP_TASKS, TASKS
from vilam.tasks.presence import probability_of_yes

Box = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Found:
    """An answer. Geometry is in absolute pixels of the picture that was given; only what was asked for is set.

    text: the model's own words, coordinates 0-1000. confidence: geometric mean of its tokens' probabilities, 0..1.
    boxes: all that were asked for; () where it found none. probability: that there is any, where that was asked.
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

    def as_dict(self) -> dict[str, Any]:
        """What is set, for JSON."""
        return {name: value for name, value in asdict(self).items() if value is not None}


class Predictor:
    """A trained model that answers one question at a time."""

    def __init__(self, trained: Trained) -> None:
        """Take over a loaded model; it moves to the GPU where there is one."""
        self.model = trained.model.to(best_device()).eval()
        self.model.settle(precision("auto"))
        self.tokenizer = trained.tokenizer
        self.card = trained.card
        self.trained_tasks = frozenset(trained.info.get("tasks", ()))
        self.grammars = compile_grammars(trained.tokenizer, trained.card)

    @classmethod
    def from_pretrained(cls, source: str | Path, root: Path | None = None) -> Predictor:
        """Open a model folder, or ``models:/NAME@ALIAS`` of the registry of the project in ``root`` (here).

        Raises VilamError where there is no such model or it is damaged.
        """
        return cls(load_trained(model_folder(str(source), root or Path.cwd())))

    def locate(self, image: Image.Image, expression: str) -> Found:
        """The box of what an expression means."""
        return self._ask("rec_box", image, expression=expression)

    def find_all(self, image: Image.Image, expression: str) -> Found:
        """The boxes of everything that an expression means, none where nothing fits."""
        return self._ask_of_groups("rec_every", image, expression)

    def presence(self, image: Image.Image, expression: str) -> Found:
        """Whether there is anything that an expression means, and how probable that is."""
        return self._ask_of_groups("presence", image, expression)

    def segment(self, image: Image.Image, expression: str) -> Found:
        """The outline of what an expression means, as polygons."""
        return self._ask("rec_mask", image, expression=expression)

    def keypoints(self, image: Image.Image, expression: str) -> Found:
        """The keypoints of what an expression means, in the order of its category's schema."""
        return self._ask("rec_keypoints", image, expression=expression)

    def classify(self, image: Image.Image, box_xyxy: Box) -> Found:
        """The category of what a box (pixels) holds."""
        return self._ask("reg_class", image, box_xyxy=box_xyxy)

    def describe(self, image: Image.Image, box_xyxy: Box) -> Found:
        """An expression for what a box (pixels) holds."""
        return self._ask("reg_caption", image, box_xyxy=box_xyxy)

    def _ask(self, name: str, image: Image.Image, expression: str = "", box_xyxy: Box | None = None) -> Found:
        if not self.grammars[name].alternatives:
            raise VilamError(f"{name}: the model was trained on {self.card.name}, which has none: ask something else")
        region = Region("", _inside(box_xyxy, image), "")
        words = Words(_clean(expression)) if box_xyxy is None else None
        return self._answer(name, image, TASKS[name].question(0, self._record(image), region, words))

    def _ask_of_groups(self, name: str, image: Image.Image, expression: str) -> Found:
        if name not in self.trained_tasks:
            raise VilamError(f"{name}: the model was not trained on it: add it to train.tasks and train again")
        return self._answer(name, image, GROUP_TASKS[name].question(0, self._record(image), _clean(expression)))

    def _record(self, image: Image.Image) -> ImageRecord:
        """The picture as questions are asked about it."""
        return ImageRecord("", "", b"", image.width, image.height, "", "", domain=self.card.domain)

    def _answer(self, name: str, image: Image.Image, question: str) -> Found:
        pixels = self.model.see([image])
        with autocast(self.model, precision("auto")):
            answer = generate(self.model, self.tokenizer, pixels, [Request(0, question, self.grammars[name])])[0]
        reading = ALL_TASKS[name].parse(answer.text, image.width, image.height)
        if reading is None:
            return Found(name, answer.text, answer.confidence)
        return Found(
            name,
            answer.text,
            answer.confidence,
            reading.box_xyxy,
            reading.polygons,
            reading.points,
            reading.text,
            reading.boxes,
            probability_of_yes(reading, answer.probability) if name == "presence" else None,
        )


def model_folder(source: str, root: Path) -> Path:
    """The folder of a model, fetched from the registry of the project in ``root`` where it is ``models:/...``."""
    if not source.startswith("models:/"):
        return Path(source)
    from vilam.tracking import download_model

    return download_model(source, root)


def _inside(box_xyxy: Box | None, image: Image.Image) -> Box:
    """The part of a box that lies in the picture."""
    if box_xyxy is None:
        return (0.0, 0.0, float(image.width), float(image.height))
    x1, y1, x2, y2 = clip_box(box_xyxy, image.width, image.height)
    if not (x1 < x2 and y1 < y2):  # so that NaN is refused too
        raise VilamError(f"box {box_xyxy}: outside of the {image.width} x {image.height} picture or empty")
    return (x1, y1, x2, y2)


def _clean(expression: str) -> str:
    text = " ".join(expression.split()).rstrip(".?!")
    if not text:
        raise VilamError("the expression is empty: say what to look for, such as 'the red circle'")
    return text
