"""``evaluate``: one answer per expression from both models, scored strictly: metrics, CSVs, predictions, the report.

What a protocol asks besides comes after the strict answers, which are the same with any.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from io import StringIO
from pathlib import Path

import torch

from vilam.config import EvaluateSettings, Settings
from vilam.data.instructions import Instruction, read_instructions
from vilam.data.leakage import content_hash
from vilam.data.records import Expression
from vilam.data.store import RecordStore
from vilam.errors import VilamError
from vilam.evaluation.dialogue import dialogue_metrics, second_turns
from vilam.evaluation.evaluator import Evaluation, Prediction, evaluate
from vilam.evaluation.oracle import oracle_metrics, rewordings
from vilam.evaluation.plots import plots
from vilam.evaluation.report import write_report
from vilam.files import write_whole
from vilam.inference.addresses import Addressed, find_model
from vilam.inference.answering import answer_all, autocast, compile_grammars
from vilam.launch import ALONE, Team, is_first, launch, team
from vilam.models.build import Trained, keep_features
from vilam.models.device import best_device, precision
from vilam.progress import Progress
from vilam.tasks import ALL_TASKS, TASKS
from vilam.tracking import Tracker, open_run

OTHER = "other"
"""What the numbers of `evaluate.model` stand under, where those of this project's models stand under their stages."""

logger = logging.getLogger(__name__)


def run(settings: Settings, root: Path) -> None:
    """Score models/activate and models/train, or evaluate.model; write metrics, plots, predictions and the report.

    Raises VilamError where a task or the split is unknown or a model is missing.
    """
    chosen = settings.evaluate
    if unknown := set(chosen.tasks or ()) - ALL_TASKS.keys():
        raise VilamError(f"evaluate.tasks: unknown {', '.join(sorted(unknown))}: choose of {', '.join(ALL_TASKS)}")
    models = models_of(chosen, root) if is_first() else {}  # told before others are started
    if launch("evaluate", chosen, root):
        return
    if chosen.threads:
        torch.set_num_threads(chosen.threads)
    with team() as processes:
        logger.disabled = processes.rank > 0  # the first one tells
        _evaluate(processes.share(models)[0], settings, root, processes)


def _evaluate(models: Mapping[str, Addressed], settings: Settings, root: Path, processes: Team) -> None:
    """All processes answer, the first one scores and writes."""
    chosen = settings.evaluate
    records = RecordStore(root / "data" / "records", *chosen.splits)
    trained = {stage: model.open() for stage, model in models.items()}
    seen = frozenset().union(*(each.seen for each in trained.values()))
    leaked = leaked_images(records, seen)
    asked = [each for each in instructions_of(root, chosen) if each.image_id not in leaked]
    if not asked:
        raise VilamError(f"evaluate: every image of {_named(chosen)} was trained on: choose another split")
    for each in trained.values():
        each.model.settle(precision("auto"))
        if chosen.model is None:
            keep_features(each.model, settings.model)
    answers = {
        stage: ask(Answerer(model, records, chosen.batch_size, processes), asked, chosen, stage)
        for stage, model in trained.items()
    }
    if processes.rank > 0:
        return
    evaluations = {stage: score(each, records, chosen, settings.seed) for stage, each in answers.items()}
    facts = {"data": records.card.name, "split": ", ".join(chosen.splits), "images": str(_num_images(asked))}
    facts |= {"left out, since trained on": str(len(leaked))} if leaked else {}
    facts |= {"model": models[OTHER].version, "trained on": trained[OTHER].card.name} if OTHER in models else {}
    with _open_run(settings, root, trained, facts) as tracker:
        _tell(evaluations, records, facts, chosen, root, tracker)
    metrics = {stage: evaluation.metrics for stage, evaluation in evaluations.items()}
    write_whole(root / "metrics" / "evaluate.json", json.dumps(metrics, indent=2) + "\n")


def _tell(
    evaluations: dict[str, Evaluation],
    records: RecordStore,
    facts: Mapping[str, str],
    settings: EvaluateSettings,
    root: Path,
    tracker: Tracker,
) -> None:
    """Write the answers, the plots and the report, and log them with the metrics of the last model and of step 1."""
    _write_tables(evaluations, root)
    made = {"MLflow run": tracker.run_id, "git commit": tracker.origin.get("git_commit", "unknown")}
    write_report(
        root / "reports",
        evaluations,
        records,
        records.card,
        gallery=settings.gallery,
        title="vilam",
        facts={**facts, **made},
    )
    tracker.log_metrics(list(evaluations.values())[-1].metrics)
    if before := evaluations.get("activate"):
        tracker.log_metrics({f"after_step_1/{name}": value for name, value in before.metrics.items()})
    tracker.log_artifacts(root / "reports", "report")
    tracker.log_artifacts(root / "predictions", "predictions")


def models_of(settings: EvaluateSettings, root: Path) -> dict[str, Addressed]:
    """The models that are asked, by what their numbers stand under: their stage, or OTHER for evaluate.model.

    Raises VilamError where there is no such evaluate.model.
    """
    if settings.model is None:
        stages = ("activate", "train") if settings.step_1 else ("train",)
        return {stage: Addressed("evaluate", f"models/{stage}", root / "models" / stage) for stage in stages}
    return {OTHER: find_model("evaluate.model", settings.model, root)}


def _open_run(
    settings: Settings, root: Path, trained: Mapping[str, Trained], facts: Mapping[str, str]
) -> AbstractContextManager[Tracker]:
    """The run of the training; for another model one of its own, as its numbers here are not those of its training."""
    if OTHER not in trained:
        return open_run(root, "train", trained["train"].info.get("run_id"))
    tags = {"evaluated_model": facts["model"], "trained_on": facts["trained on"], "data_set": facts["data"]}
    params = {"seed": settings.seed, "evaluate": settings.evaluate}
    return open_run(root, f"{facts['model']} on {facts['data']}", params=params, tags=tags)


def instructions_of(root: Path, settings: EvaluateSettings) -> list[Instruction]:
    """All instructions of the tasks that are asked on the first ``max_images`` images of each split."""
    chosen = [asked for split in settings.splits for asked in _of_split(split, root, settings)]
    if not chosen:
        raise VilamError(f"evaluate: {_named(settings)} has no instructions: choose another split")
    return chosen


def _of_split(split: str, root: Path, settings: EvaluateSettings) -> Iterator[Instruction]:
    images: set[str] = set()
    for asked in read_instructions(root / "data" / "instructions", split, set(settings.tasks or ALL_TASKS)):
        images.add(asked.image_id)
        if len(images) > settings.max_images:
            return
        yield asked


def _named(settings: EvaluateSettings) -> str:
    name = "the split" if len(settings.splits) == 1 else "the splits"
    return f"{name} {', '.join(map(repr, settings.splits))}"


def leaked_images(records: RecordStore, seen: frozenset[str]) -> set[str]:
    """Ids of those images whose content was trained on; each is told, and none of them is asked about."""
    leaked = {image_id for image_id in records.ids if content_hash(records[image_id].image) in seen}
    for image_id in sorted(leaked):
        logger.warning("evaluate: image %s was trained on: left out", image_id)
    return leaked


def _num_images(instructions: Sequence[Instruction]) -> int:
    return len({instruction.image_id for instruction in instructions})


@dataclass(frozen=True, slots=True)
class Answers:
    """What a model said: the strict answers, and those to what follows from them.

    back: to its own words of regions. turns: on the boxes that it found. others: to the other templates of rec_box.
    """

    strict: list[Prediction]
    back: list[Prediction]
    turns: list[Prediction]
    others: list[Prediction]


def ask(answerer: Answerer, instructions: Sequence[Instruction], settings: EvaluateSettings, stage: str) -> Answers:
    """The answers of one model, with the round trip region -> words -> region, and second turns and the protocol's."""
    records, title = answerer.records, f"evaluate {stage}"
    strict = answerer.predict(instructions, title)
    back = answerer.predict(_round_trip_questions(strict, records), f"{title}, round trip")
    turns = second_turns(strict, records, records.card) if settings.dialogue else []
    others = rewordings(strict, records) if settings.protocol == "vilam-oracle" else []
    return Answers(
        strict,
        back,
        answerer.predict(turns, f"{title}, dialogue") if turns else [],
        answerer.predict(others, f"{title}, oracle") if others else [],
    )


def score(answers: Answers, records: RecordStore, settings: EvaluateSettings, seed: int) -> Evaluation:
    """The metrics of one model."""
    card, draws = records.card, settings.bootstrap
    boxes = {each.instruction.instruction_id: each.answer for each in answers.back}
    strict = evaluate(answers.strict, records, card, bootstrap=draws, seed=seed, round_trips=boxes)
    more: dict[str, float] = {}
    if settings.dialogue:
        more |= dialogue_metrics(answers.strict, answers.turns, records, card, strict.pictures, draws, seed)
    if settings.protocol == "vilam-oracle":
        more |= oracle_metrics(answers.strict, answers.others, records, card, strict.pictures, draws, seed)
    return replace(strict, metrics=strict.metrics | more)


class Answerer:
    """A model that answers instructions about the records of some splits, together with other processes."""

    def __init__(self, trained: Trained, records: RecordStore, batch_size: int, processes: Team = ALONE) -> None:
        self.model = trained.model.to(best_device(processes.rank))
        self.tokenizer = trained.tokenizer
        self.records = records
        self.batch_size = batch_size
        self.processes = processes
        # What may be answered is a matter of the data set that is asked about, not of the one that was trained on.
        self.grammars = compile_grammars(trained.tokenizer, records.card)

    def predict(self, instructions: Sequence[Instruction], title: str) -> list[Prediction]:
        """One prediction for each instruction; the first process shows how far they are."""
        stream = None if self.processes.rank == 0 else StringIO()
        progress = Progress(len(instructions), title, "answers", stream=stream)
        with progress, autocast(self.model, precision("auto")):
            answers = answer_all(
                self.model,
                self.tokenizer,
                self.grammars,
                self.records,
                instructions,
                self.batch_size,
                progress.advance,
                self.processes,
            )
        return [
            Prediction(each, answer.text, answer.confidence, answer.probability, answer.coordinates)
            for each, answer in zip(instructions, answers, strict=True)
        ]


def _round_trip_questions(predictions: Sequence[Prediction], records: RecordStore) -> list[Instruction]:
    """REC questions about the words that each region was given, under the id of the question that gave them."""
    task = TASKS["rec_box"]
    questions: dict[str, Instruction] = {}
    for prediction in predictions:
        asked, words = prediction.instruction, prediction.answer.strip()
        if asked.task != "reg_caption" or not words:
            continue
        record = records[asked.image_id]
        region = record.region(asked.region_id)
        question = task.question(0, record, region, Expression(words, source="model"))
        questions[asked.instruction_id] = replace(asked, task=task.name, question=question, expression=words)
    return list(questions.values())


def _write_tables(evaluations: dict[str, Evaluation], root: Path) -> None:
    """Write the answers and the plots; answers of models that were asked before are taken away."""
    for stale in (root / "predictions").glob("*.parquet"):
        stale.unlink()
    for stage, evaluation in evaluations.items():
        write_whole(root / "predictions" / f"{stage}.parquet", evaluation.rows.to_parquet(None, index=False))
    for name, table in plots(evaluations).items():
        write_whole(root / "metrics" / "plots" / f"{name}.csv", table.to_csv(index=False))
