"""The strict evaluation of one model: each question has one answer, its own task scores it, unreadable ones get 0."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from vilam.data.records import DatasetCard
from vilam.errors import VilamError
from vilam.evaluation.average_precision import average_precision
from vilam.evaluation.breakdowns import breakdown_metrics, part_metrics
from vilam.evaluation.captions import cider, coco_caption_metrics, diversity
from vilam.evaluation.error_kinds import error_kinds
from vilam.evaluation.estimates import Metric
from vilam.evaluation.groups import auc
from vilam.evaluation.predictions import Prediction, prediction_rows
from vilam.evaluation.round_trips import round_trip_metrics
from vilam.evaluation.task_metrics import task_metrics
from vilam.inference.answering import Records
from vilam.tasks import GROUP_TASKS, TASKS


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The rows and the metrics of one model.

    rows: one per prediction, in their order, with the columns
        instruction_id, question_id (differs if what is asked, the image or the truth differ), task, split, image_id,
        content_id (the first image_id with the same content), region_id (of tasks on groups the group's), question,
        expression, expression_kind, expression_length, truth, answer, confidence, invalid, category, seen ("seen",
        "unseen", or "" if no category is held out), size (small, medium, large), references (the region's expressions);
        the scores of the tasks: iou, intersection, union, oks, pck, correct, exact, cider, f1, perfect, perfect_giou,
        existence_correct, num_true; NaN in the rows of other tasks;
        error_kind: of rec_box one of `vilam.evaluation.error_kinds.KINDS`, "" in the rows of other tasks;
        of reg_caption with round trips: round_trip_answer, round_trip_iou; of rec_every: true_boxes, boxes, box_scores;
        of presence: present (the probability of "yes").
    metrics: by name, e.g. ``rec_box/acc_0.5``; never NaN.
    """

    rows: pd.DataFrame
    metrics: dict[str, float]

    @property
    def content_ids(self) -> dict[str, str]:
        """The content id of each image id."""
        return dict(zip(self.rows["image_id"], self.rows["content_id"], strict=True))


def evaluate(
    predictions: Sequence[Prediction],
    records: Records,
    card: DatasetCard,
    *,
    bootstrap: int,
    seed: int,
    round_trips: Mapping[str, str] | None = None,
) -> Evaluation:
    """Scores predictions against the records of their images.

    bootstrap: the number of resamples of the intervals, seeded by ``seed``. round_trips: for the instruction_id of a
    reg_caption prediction, the rec_box answer to the expression that it generated.
    Raises VilamError if there are no predictions, or one has an image, a region or a task that is unknown.
    """
    if not predictions:
        raise VilamError("there are no answers to evaluate: do the splits of evaluate.splits hold instructions?")
    rows = pd.DataFrame(prediction_rows(predictions, records, card, round_trips or {}))
    rows = with_cider(rows.assign(error_kind=error_kinds(rows, records)))
    return Evaluation(rows, dict(metrics_of(rows, bootstrap, seed)))


def with_cider(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows with the column cider; how much a word counts depends on the references of all of these rows."""
    described = rows[rows["task"] == "reg_caption"]
    if described.empty:
        return rows
    documents = described.drop_duplicates(["image_id", "region_id"])["references"].tolist()
    scores = cider(described["answer"].tolist(), described["references"].tolist(), documents)
    return rows.assign(cider=pd.Series(scores, index=described.index))


def metrics_of(rows: pd.DataFrame, resamples: int, seed: int) -> Iterator[Metric]:
    """All metrics of the rows of an evaluation, or of a part of them, with intervals of ``resamples``."""
    by_task = {task: rows[rows["task"] == task] for task in (*TASKS, *GROUP_TASKS)}
    for task, own in by_task.items():
        if task in TASKS or len(own):
            yield from task_metrics(task, own, resamples, seed)
            yield from part_metrics(task, own, resamples, seed)
    yield from average_precision("rec_every", by_task["rec_every"], resamples, seed)
    yield from auc("presence", by_task["presence"], resamples, seed)
    yield from breakdown_metrics("rec_box", by_task["rec_box"])
    yield from round_trip_metrics(rows, resamples, seed)
    described = by_task["reg_caption"]
    for name, value in coco_caption_metrics(described["answer"].tolist(), described["references"].tolist()).items():
        yield f"reg_caption/{name}", value
    answers = described.drop_duplicates(["image_id", "region_id"])["answer"]
    for name, value in diversity(answers.tolist()).items():
        yield f"reg_caption/{name}", value
