"""The test data of an evaluation: its questions. Numbers of models that were asked different ones do not compare."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pandas as pd

from vilam.data.records import DatasetCard
from vilam.errors import VilamError, first_line


def read_rows(path: Path) -> pd.DataFrame:
    """The rows of an evaluation from its Parquet file; raises VilamError if it cannot be read."""
    try:
        rows = pd.read_parquet(path)
        if "question_id" not in rows:
            raise ValueError("no question_id")
        return rows
    except (OSError, ValueError) as error:
        raise VilamError(f"{path}: not readable as answers ({first_line(error)}): run `dvc repro evaluate`") from None


def version_of_questions(rows: pd.DataFrame) -> str:
    """The version of the test data, 12 hex digits: the same for the same questions in any order.

    rows: ``Evaluation.rows``.
    """
    return hashlib.sha256("".join(sorted(rows["question_id"])).encode()).hexdigest()[:12]


def evaluated_on(card: DatasetCard, rows: pd.DataFrame) -> str:
    """The test data for people: ``voc (platelets, rbc, wbc), test: 72 images``."""
    splits = ", ".join(dict.fromkeys(rows["split"]))
    return f"{card.title}, {splits}: {rows['image_id'].nunique()} images"


def tags_of_questions(card: DatasetCard, rows: pd.DataFrame) -> dict[str, str]:
    """Both as tags of a run or a registered version."""
    return {"evaluated_on": evaluated_on(card, rows), "test_data": version_of_questions(rows)}
