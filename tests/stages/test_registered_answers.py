"""The registered model of a real run answers questions again: as it did in its own evaluation."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from vilam.config import load_settings
from vilam.evaluation.gate import Answered, gate
from vilam.evaluation.questions import version_of_questions
from vilam.layout import ANSWERS, Layout
from vilam.stages.register import _answered
from vilam.tracking.registry import versions


def test_a_registered_model_answers_again_only_if_the_questions_are_others(projects: Path) -> None:
    root = projects / "whole"
    settings, known = load_settings(root / "params.yaml"), pd.read_parquet(root / ANSWERS)
    (version,) = versions(root, "vilam")
    assert version.tags["test_data"] == version_of_questions(known)
    pd.testing.assert_frame_equal(_answered(version, known, settings, Layout(root)).rows, known)

    first = known[known["image_id"] == known["image_id"][0]].reset_index(drop=True)
    assert len(first) < len(known)
    again = _answered(version, first, settings, Layout(root)).rows
    assert [*again["question_id"]] == [*first["question_id"]]
    assert [*again["answer"]] == [*first["answer"]]
    outcome = gate(Answered("this model", known), [Answered("version 1", again)], settings.register_)
    assert outcome.passed and all(": 0 above version 1" in reason for reason in outcome.reasons), outcome
