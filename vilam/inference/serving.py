"""The registered model as a server uses it: a table of questions in, a table of answers out.

MLflow loads it by `_load_pyfunc` (its loader-module form: no pickle). One row is one question:

    task   locate | segment | keypoints (``text`` is the expression) | classify | describe (``box`` is the region)
    image  a PNG, JPEG, DICOM or NIfTI file of one picture in base64 (the last two need SimpleITK there)
    box    [x1, y1, x2, y2] in absolute pixels of that image

``details`` of an answer to locate has ``uncertain``, null if the model keeps no threshold.

A request to the server: ``{"dataframe_records": [{"task": "locate", "image": "...", "text": "the red disc"}]}``.
"""

from __future__ import annotations

import base64
import binascii
import io
import json
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image, UnidentifiedImageError

import vilam
from vilam.data.opening import open_picture
from vilam.data.records import Levels
from vilam.errors import VilamError

if TYPE_CHECKING:
    import pandas as pd

    from vilam.inference.predictor import Predictor
    from vilam.tracking.registry import Serving

BY_TEXT = ("locate", "segment", "keypoints")
BY_BOX = ("classify", "describe")
NEEDED = (
    *("torch", "transformers", "tokenizers", "safetensors", "peft", "numpy", "scipy", "pandas", "pyarrow", "pillow"),
    *("pycocotools", "contourpy", "pydantic", "pyyaml", "ruamel.yaml", "jinja2", "rich", "filelock", "platformdirs"),
)
"""The packages that a server installs; the code of vilam is part of the registered model."""


class Served:
    """A predictor behind MLflow's ``predict``."""

    def __init__(self, predictor: Predictor) -> None:
        """Answers with ``predictor``."""
        self._predictor = predictor

    def predict(self, questions: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """Rows of (task, image, text or box) to rows of (answer, confidence, details: the whole answer as JSON)."""
        import pandas as pd

        rows = [self._row(row) for row in questions.to_dict("records")]
        return pd.DataFrame(rows, columns=["answer", "confidence", "details"], index=questions.index)

    def _row(self, row: dict[Any, Any]) -> dict[str, object]:
        question = _question(row)
        image = _image(row["image"], self._predictor.model.card.levels)
        answer = getattr(self._predictor, row["task"])(image, question)
        return {"answer": answer.text, "confidence": answer.confidence, "details": json.dumps(asdict(answer))}


def _load_pyfunc(path: str) -> Served:
    from vilam.inference.predictor import Predictor

    return Served(Predictor.from_pretrained(path))


def serving() -> Serving:
    """The parts of a registered model that let a server run without anything else."""
    from vilam.tracking.registry import Serving  # a server does not need it

    return Serving(__name__, Path(vilam.__file__).parent, input_example(), requirements())


def requirements() -> list[str]:
    """The pinned packages that a server of the model needs, as they are installed here."""
    return [f"{name}=={version(name).partition('+')[0]}" for name in NEEDED]


def input_example() -> pd.DataFrame:
    """One question about a small plain image, shown beside the registered model."""
    import pandas as pd

    file = io.BytesIO()
    Image.new("RGB", (96, 96), (120, 130, 140)).save(file, format="PNG")
    image = base64.b64encode(file.getvalue()).decode()
    return pd.DataFrame([{"task": "locate", "image": image, "text": "the red disc"}])


def _question(row: dict[Any, Any]) -> object:
    """The expression or the box of a question; raises VilamError if it has neither."""
    name = "text" if row["task"] in BY_TEXT else "box"
    if row["task"] not in BY_TEXT + BY_BOX:
        raise VilamError(f"task {row['task']!r}: no such task: ask one of {', '.join(BY_TEXT + BY_BOX)}")
    if (question := row.get(name)) is None:
        raise VilamError(f"task {row['task']!r}: needs the column {name}")
    return question if name == "text" else _box(question)


def _box(box: object) -> tuple[float, ...]:
    try:
        x1, y1, x2, y2 = (float(number) for number in box)  # type: ignore[attr-defined]
    except (TypeError, ValueError):
        raise VilamError(f"box {box!r}: expected [x1, y1, x2, y2] in pixels") from None
    return x1, y1, x2, y2


def _image(encoded: str, levels: Levels | None) -> Image.Image:
    try:
        return open_picture(base64.b64decode(encoded, validate=True), levels)
    except (binascii.Error, UnidentifiedImageError, OSError) as error:
        raise VilamError(f"image: not a PNG, JPEG, DICOM or NIfTI in base64: {error}") from error
