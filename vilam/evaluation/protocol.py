"""The protocol of an evaluation: the questions to a model, their order, and the metrics of its answers.

The strict protocol asks each instruction once. All other questions come after it, so the strict answers are the same
with any settings: round trips region -> expression -> region, second turns of a dialogue, the other templates of
rec_box.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from io import StringIO

from vilam.config import EvaluateSettings
from vilam.data.instructions import Instruction
from vilam.data.store import RecordStore
from vilam.evaluation.dialogue import dialogue_metrics, second_turns
from vilam.evaluation.evaluator import Evaluation, evaluate
from vilam.evaluation.oracle import oracle_metrics, rewordings
from vilam.evaluation.predictions import Prediction
from vilam.evaluation.round_trips import round_trip_questions
from vilam.inference.answering import answer_all
from vilam.inference.generate import Answer
from vilam.inference.model import Model
from vilam.inference.unread import readable, warn
from vilam.launch import ALONE, Processes
from vilam.models.device import autocast, precision
from vilam.progress import Progress


@dataclass(frozen=True, slots=True)
class Answers:
    """A model's answers: the strict ones, and those to questions that follow from them.

    round_trips: to its own expressions. second_turns: about the boxes that it found. rewordings: to the other templates
    of rec_box.
    """

    strict: list[Prediction]
    round_trips: list[Prediction]
    second_turns: list[Prediction]
    rewordings: list[Prediction]


@dataclass(frozen=True, slots=True)
class Answerer:
    """A model that answers instructions about the records of some splits, together with other processes."""

    model: Model
    records: RecordStore
    batch_size: int
    processes: Processes = ALONE

    def predict(self, instructions: Sequence[Instruction], title: str) -> list[Prediction]:
        """One prediction for each instruction; the first process shows the progress.

        A question that is longer than the model reads has an answer without any text, which is counted as wrong.
        """
        asked, unread = readable(self.model, self.records, instructions)
        warn(unread, title, "counted as wrong")
        stream = None if self.processes.rank == 0 else StringIO()
        progress = Progress(len(asked), title, "answers", stream=stream)
        with progress, autocast(self.model.network, precision("auto")):
            answers = answer_all(self.model, self.records, asked, self.batch_size, progress.advance, self.processes)
        answered = dict(zip(map(id, asked), answers, strict=True))
        return [_prediction(each, answered.get(id(each))) for each in instructions]


def _prediction(instruction: Instruction, answer: Answer | None) -> Prediction:
    if answer is None:
        return Prediction(instruction, "", confidence=0.0, probability=0.0)
    return Prediction(instruction, answer.text, answer.confidence, answer.probability, answer.coordinates)


def ask(answerer: Answerer, instructions: Sequence[Instruction], settings: EvaluateSettings, stage: str) -> Answers:
    """All answers of one model."""
    records, title = answerer.records, f"evaluate {stage}"
    strict = answerer.predict(instructions, title)
    round_trips = answerer.predict(round_trip_questions(strict, records), f"{title}, round trip")
    turns = second_turns(strict, records, records.card) if settings.dialogue else []
    others = rewordings(strict, records) if settings.protocol == "vilam-oracle" else []
    return Answers(
        strict,
        round_trips,
        answerer.predict(turns, f"{title}, dialogue") if turns else [],
        answerer.predict(others, f"{title}, oracle") if others else [],
    )


def score(answers: Answers, records: RecordStore, settings: EvaluateSettings, seed: int) -> Evaluation:
    """The metrics of one model."""
    card, resamples = records.card, settings.bootstrap
    boxes = {each.instruction.instruction_id: each.answer for each in answers.round_trips}
    strict = evaluate(answers.strict, records, card, bootstrap=resamples, seed=seed, round_trips=boxes)
    more: dict[str, float] = {}
    if settings.dialogue:
        turns = answers.second_turns
        more |= dialogue_metrics(answers.strict, turns, records, card, strict.content_ids, resamples, seed)
    if settings.protocol == "vilam-oracle":
        others = answers.rewordings
        more |= oracle_metrics(answers.strict, others, records, card, strict.content_ids, resamples, seed)
    return replace(strict, metrics=strict.metrics | more)
