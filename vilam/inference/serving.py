"""The registered model as a server uses it: a table of questions in, a table of answers out.

MLflow loads it by `_load_pyfunc` (its loader-module form: no pickle). One row is one question:

    task   locate | segment | keypoints | find_all | presence (``text`` is the expression)
           | classify | describe (``box`` is the region)
    image  a PNG, JPEG, DICOM or NIfTI file of one picture (the last two need SimpleITK there) in base64: standard or
           URL-safe, on one line or wrapped, alone or as a data URL
    box    [x1, y1, x2, y2] in absolute pixels of that image

What a task does not need may be missing or null. Rows about the same picture are answered together: it is decoded once,
and encoded once for every `predictor.AT_ONCE` of them.

``details`` is the whole answer as JSON; that of locate has ``uncertain``, null if the model keeps no threshold.
``error`` is null, or one line that says what is wrong with that row, whose other columns are null then. If no row can
be answered, the request fails with status 400 and these lines as its ``message``.

A request to the server: ``{"dataframe_records": [{"task": "locate", "image": "...", "text": "the red disc"}]}``.
"""

from __future__ import annotations

import base64
import io
import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from PIL import Image

import vilam
from vilam.errors import VilamError
from vilam.tracking.replies import RequestError

if TYPE_CHECKING:
    import pandas as pd

    from vilam.inference.predictor import GroundingResult, Predictor
    from vilam.tracking.registry import Serving

COLUMNS = ("answer", "confidence", "details", "error")
BY_BOX = ("classify", "describe")
"""The tasks that need a box; the others need a text."""
URL_SAFE = str.maketrans("-_", "+/")
NEEDED = (
    *("torch", "transformers", "tokenizers", "safetensors", "peft", "numpy", "scipy", "pandas", "pyarrow", "pillow"),
    *("pycocotools", "contourpy", "pydantic", "pyyaml", "ruamel.yaml", "jinja2", "rich", "filelock", "platformdirs"),
    *("mlflow", "huggingface_hub"),
)
"""The packages that a server installs; the code of vilam is part of the registered model."""


class Served:
    """A predictor behind MLflow's ``predict``."""

    def __init__(self, predictor: Predictor) -> None:
        """Answers with ``predictor``."""
        self._predictor = predictor

    def predict(self, questions: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """Rows of (task, image, text or box) to rows of COLUMNS, in their order.

        Raises RequestError if no row can be answered.
        """
        import pandas as pd

        results = dict(self._results(questions.to_dict("records")))
        rows = [_row(results[number]) for number in range(len(questions))]
        errors = [str(row["error"]) for row in rows if row["error"] is not None]
        if errors and len(errors) == len(rows):
            raise RequestError(errors)
        table = pd.DataFrame(rows, columns=list(COLUMNS), index=questions.index)
        return table.astype(object).where(table.notna(), None) if errors else table  # JSON has null, but not NaN

    def _results(self, rows: Sequence[dict[Any, Any]]) -> Iterator[tuple[int, GroundingResult | VilamError]]:
        """The number of each row and its result, picture by picture."""
        by_picture: dict[bytes, list[int]] = {}
        questions = {}
        for number, row in enumerate(rows):
            try:
                questions[number] = _question(row)
                by_picture.setdefault(_content(_given(row, "image")), []).append(number)
            except VilamError as error:
                yield number, error
        for content, numbers in by_picture.items():
            answers = self._answers(content, [questions[number] for number in numbers])
            yield from zip(numbers, answers, strict=True)

    def _answers(self, content: bytes, questions: Sequence[tuple[str, Any]]) -> Sequence[GroundingResult | VilamError]:
        """The results of questions about one picture; if it cannot be opened or read, each is that error."""
        try:
            return self._predictor.ask(self._opened(content), questions)
        except VilamError as error:
            return [error] * len(questions)
        except Exception:  # a bug, or a device without memory: what other pictures are asked is answered
            logging.getLogger(__name__).exception("questions about a picture were not answered")
            return [VilamError("the server failed, and its log says why: ask whoever runs it")] * len(questions)

    def _opened(self, content: bytes) -> Image.Image:
        try:
            return self._predictor.open_image(content)
        except VilamError:
            raise
        except Exception as error:  # each format has its own way to be damaged
            raise VilamError("image: not a PNG, JPEG, DICOM or NIfTI of one picture: send such a file") from error


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


def _row(result: GroundingResult | VilamError) -> dict[str, object]:
    if isinstance(result, VilamError):
        return {"answer": None, "confidence": None, "details": None, "error": str(result)}
    details = json.dumps(asdict(result))
    return {"answer": result.text, "confidence": result.confidence, "details": details, "error": None}


def _given(row: dict[Any, Any], name: str) -> object:
    """The value of a column; None if there is none: a table of several tasks holds null or NaN there."""
    import pandas as pd

    value = row.get(name)
    return None if pd.api.types.is_scalar(value) and pd.isna(value) else value


def _question(row: dict[Any, Any]) -> tuple[str, Any]:
    """The task of a row, and its text or box; raises VilamError if it lacks one."""
    from vilam.inference.predictor import METHODS

    task = str(_given(row, "task"))
    if task not in METHODS:
        raise VilamError(f"task {task!r}: no such task: ask one of {', '.join(METHODS)}")
    column = "box" if task in BY_BOX else "text"
    if (about := _given(row, column)) is None:
        raise VilamError(f"task {task!r}: needs the column {column}")
    return task, about


def _content(encoded: object) -> bytes:
    """The content of the file in base64 of any form; raises VilamError if it is something else."""
    if not isinstance(encoded, str):
        raise VilamError("image: missing: send a file in base64" if encoded is None else "image: no text in base64")
    head, _, data = encoded.partition(",")
    text = unquote(data) if head.lstrip().startswith("data:") else encoded
    text = "".join(text.split()).translate(URL_SAFE).rstrip("=")
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except ValueError as error:  # binascii.Error is one
        raise VilamError("image: not in base64: send a file in it, or a data URL") from error
