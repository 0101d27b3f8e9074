"""The oracle protocol: its questions and its metrics."""

from __future__ import annotations

from dataclasses import replace

import pytest

from vilam.config import RegisterSettings
from vilam.evaluation.oracle import oracle_metrics, rewordings
from vilam.evaluation.paired import scores
from vilam.tasks import TASKS

TEMPLATES = TASKS["rec_box"].templates
MISSED, FAR = "[900, 900, 950, 950]", "[100, 200, 500, 380]"  # IoU 0 and 0.45 with the star of 40 x 40 at (10, 20)


def metrics_of(predictions, others, records, card) -> dict[str, float]:
    return dict(
        oracle_metrics(predictions, others, records, card, {name: name for name in records}, resamples=50, seed=0)
    )


def test_every_other_template_is_asked_once(predict, records):
    asked = replace(predict("rec_box"), instruction=replace(predict("rec_box").instruction, template=3))
    questions = rewordings([asked, predict("reg_class")], records)
    others = [template for template in range(len(TEMPLATES)) if template != 3]
    assert [each.template for each in questions] == others
    assert [each.question for each in questions] == [
        TEMPLATES[i].format(expression=asked.instruction.expression) for i in others
    ]
    assert {each.instruction_id for each in questions} == {asked.instruction.instruction_id}


def test_the_oracle_counts_the_best_answer_of_each_expression(predict, records, card):
    """One expression is found with another template, one with its own template, one with none."""
    strict = [predict("rec_box", "a", MISSED), predict("rec_box", "b"), predict("rec_box", "c", " ")]
    others = [predict("rec_box", "a", FAR), predict("rec_box", "a"), predict("rec_box", "b", MISSED)]
    others.append(predict("rec_box", "c", FAR))
    found = metrics_of([*strict, predict("reg_class")], others, records, card)
    assert found["rec_box_oracle/acc_0.5"] == pytest.approx(2 / 3)
    assert found["rec_box_oracle/total"] == 3 and found["rec_box_oracle/templates"] == len(TEMPLATES)
    assert 0 <= found["rec_box_oracle/acc_0.5_low"] < 2 / 3 < found["rec_box_oracle/acc_0.5_high"] <= 1


def test_the_oracle_equals_the_paper_s_stop_at_the_first_hit(predict, records, card):
    """As in the paper's script, which asks until an answer reaches 0.5."""
    answers = {"a": [MISSED, FAR], "b": [FAR, "[100, 200, 500, 600]", MISSED], "c": ["", "[100, 200, 500, 400]"]}
    ious = {MISSED: 0.0, FAR: 0.45, "[100, 200, 500, 600]": 1.0, "": 0.0, "[100, 200, 500, 400]": 0.5}
    hits = [next((True for answer in each if ious[answer] >= 0.5), False) for each in answers.values()]
    strict = [predict("rec_box", image, each[0]) for image, each in answers.items()]
    others = [predict("rec_box", image, answer) for image, each in answers.items() for answer in each[1:]]
    assert metrics_of(strict, others, records, card)["rec_box_oracle/acc_0.5"] == pytest.approx(sum(hits) / 3)


def test_no_box_questions_give_no_metrics(predict, records, card):
    assert rewordings([predict("reg_class")], records) == []
    assert metrics_of([predict("reg_class")], [], records, card) == {}


def test_the_paired_comparison_has_no_oracle_metric(predict, score):
    assert not [name for name in scores(score(predict("rec_box")).rows) if "oracle" in name]


@pytest.mark.parametrize("names", [{"primary": "rec_box_oracle/acc_0.5"}, {"guards": {"rec_box_oracle/acc_0.5": 0.1}}])
def test_the_gate_refuses_oracle_metrics(names):
    settings = {"model_name": "vilam", "primary": "rec_box/acc_0.5", "guards": {}, **names}
    with pytest.raises(ValueError, match=r"rec_box_oracle/acc_0\.5 is chosen by the truth: name a strict metric"):
        RegisterSettings.model_validate(settings)
