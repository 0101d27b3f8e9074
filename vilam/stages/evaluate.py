"""``evaluate``: both models answer each question once and are scored: metrics, CSVs, predictions, the report."""

from __future__ import annotations

import json
import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import torch

from vilam.config import EvaluateSettings, Settings
from vilam.data.instructions import Instruction, read_instructions
from vilam.data.store import RecordStore, content_hash
from vilam.errors import VilamError
from vilam.evaluation.evaluator import Evaluation
from vilam.evaluation.main import MAIN, main_metrics
from vilam.evaluation.plots import plots
from vilam.evaluation.protocol import Answerer, Answers, ask, score
from vilam.evaluation.questions import tags_of_questions
from vilam.evaluation.report import write_report
from vilam.files import write_atomically
from vilam.inference.model import Model
from vilam.inference.resolve import ResolvedModel, resolve_model
from vilam.launch import ALONE, Processes, launch, process_group, rank
from vilam.layout import Layout
from vilam.models.build import LoadedModel, keep_features
from vilam.models.device import best_device, precision
from vilam.tasks import ALL_TASKS
from vilam.tracking.runs import SCORES, Tracker, open_run
from vilam.tracking.view import save_view

ZERO_SHOT = "zero_shot"
"""The key of the metrics of `evaluate.zero_shot`, which come before the others."""
OTHER = "other"
"""The key of the metrics of `evaluate.model`; those of this project's models have their stages as keys."""

logger = logging.getLogger(__name__)


def run(settings: Settings, root: Path) -> None:
    """Score models/activate and models/train, or evaluate.model; write metrics, plots, predictions and the report.

    Raises VilamError if a split is unknown or a model is missing.
    """
    chosen = settings.evaluate
    models = models_of(chosen, root) if rank() == 0 else {}  # errors are reported before other processes start
    if launch("evaluate", chosen, root):
        return
    if chosen.threads:
        torch.set_num_threads(chosen.threads)
    with process_group() as processes:
        logger.disabled = processes.rank > 0  # only the first process logs
        _evaluate(processes.all_gather(models)[0], settings, Layout(root), processes)


def _evaluate(resolved: Mapping[str, ResolvedModel], settings: Settings, layout: Layout, processes: Processes) -> None:
    """All processes answer; the first one scores and writes."""
    chosen = settings.evaluate
    records = RecordStore(layout.records, *chosen.splits)
    loaded = {stage: opened(model) for stage, model in resolved.items()}
    leaked = leaked_images(records, frozenset().union(*(each.seen for each in loaded.values())))
    instructions = instructions_of(layout, chosen, leaked)
    for stage, each in loaded.items():
        if stage not in (ZERO_SHOT, OTHER):
            keep_features(each.network, settings.model)
    answers = {
        stage: answers_of(each, records, instructions, chosen, stage, processes) for stage, each in loaded.items()
    }
    if processes.rank > 0:
        return
    evaluations = {stage: score(each, records, chosen, settings.seed) for stage, each in answers.items()}
    num_images = len({instruction.image_id for instruction in instructions})
    facts = {"data": records.card.name, "split": ", ".join(chosen.splits), "images": str(num_images)}
    facts |= {"left out, since trained on": str(len(leaked))} if leaked else {}
    facts |= {"zero-shot": resolved[ZERO_SHOT].version} if ZERO_SHOT in resolved else {}
    facts |= {"model": resolved[OTHER].version, "trained on": loaded[OTHER].card.name} if OTHER in loaded else {}
    with _open_run(settings, layout, loaded, facts) as tracker:
        _Report(evaluations, records, facts, chosen, layout).write(tracker)
    metrics = {stage: evaluation.metrics for stage, evaluation in evaluations.items()}
    write_atomically(layout.metrics("evaluate"), json.dumps(metrics, indent=2) + "\n")


def opened(model: ResolvedModel) -> LoadedModel:
    """The model, with its frozen parts in the precision in which it answers."""
    loaded = model.open()
    loaded.network.cast_frozen(precision("auto"))
    return loaded


def answers_of(
    loaded: LoadedModel,
    records: RecordStore,
    instructions: Sequence[Instruction],
    settings: EvaluateSettings,
    title: str,
    processes: Processes = ALONE,
) -> Answers:
    """A model's answers to the instructions about the records, and to the questions that follow from them.

    The grammars are those of the records' data set, not of the one that the model was trained on.
    """
    model = Model.for_data(loaded.network.to(best_device(processes.rank)), loaded.tokenizer, records.card)
    return ask(Answerer(model, records, settings.batch_size, processes), instructions, settings, title)


@dataclass(frozen=True, slots=True)
class _Report:
    """The files of an evaluation: the answers, the tables of the plots, and the report."""

    evaluations: dict[str, Evaluation]
    records: RecordStore
    facts: Mapping[str, str]
    settings: EvaluateSettings
    layout: Layout

    def write(self, tracker: Tracker) -> None:
        """Write all files, and log them with the metrics of the last model and those of `activate`."""
        self._write_tables()
        origin = {"MLflow run": tracker.run_id, "git commit": tracker.origin.get("git_commit", "unknown")}
        write_report(
            self.layout.reports,
            self.evaluations,
            self.records,
            self.records.card,
            gallery=self.settings.gallery,
            title="vilam",
            facts={**self.facts, **origin},
        )
        evaluated = list(self.evaluations.values())[-1]
        tracker.log_metrics(main_metrics(evaluated.metrics))  # first in MLflow's tables, which sort by name
        tracker.log_metrics(_under(SCORES, evaluated.metrics))
        if before := self.evaluations.get("activate"):
            tracker.log_metrics(_under(f"{SCORES}_after_activate", before.metrics))
        save_view([*MAIN])
        tracker.set_tags(tags_of_questions(self.records.card, evaluated.rows))
        tracker.log_artifacts(self.layout.reports, "report")
        tracker.log_artifacts(self.layout.predictions, "predictions")

    def _write_tables(self) -> None:
        for stale in self.layout.predictions.glob("*.parquet"):
            stale.unlink()
        for stage, evaluation in self.evaluations.items():
            content = evaluation.rows.to_parquet(None, index=False)
            write_atomically(self.layout.answers(stage), content)
        for name, table in plots(self.evaluations).items():
            write_atomically(self.layout.plot(name), table.to_csv(index=False))


def _under(prefix: str, metrics: Mapping[str, float]) -> dict[str, float]:
    return {f"{prefix}/{name}": value for name, value in metrics.items()}


def models_of(settings: EvaluateSettings, root: Path) -> dict[str, ResolvedModel]:
    """The models to evaluate, by the key of their metrics: ZERO_SHOT, and their stage or OTHER for evaluate.model.

    Raises VilamError if evaluate.zero_shot or evaluate.model does not exist.
    """
    first = settings.zero_shot
    before = {} if first is None else {ZERO_SHOT: resolve_model("evaluate.zero_shot", first, root)}
    if settings.model is not None:
        return {**before, OTHER: resolve_model("evaluate.model", settings.model, root)}
    stages = ("activate", "train") if settings.include_activate else ("train",)
    own = {stage: ResolvedModel("evaluate", f"models/{stage}", Layout(root).model(stage)) for stage in stages}
    return {**before, **own}


def _open_run(
    settings: Settings, layout: Layout, loaded: Mapping[str, LoadedModel], facts: Mapping[str, str]
) -> AbstractContextManager[Tracker]:
    """The run of the training; for evaluate.model a new run, since its metrics do not belong to the training."""
    if OTHER not in loaded:
        return open_run(layout.root, "train", loaded["train"].info.get("run_id"))
    tags = {"evaluated_model": facts["model"], "trained_on": facts["trained on"], "data_set": facts["data"]}
    params = {"seed": settings.seed, "evaluate": settings.evaluate}
    return open_run(layout.root, f"{facts['model']} on {facts['data']}", params=params, tags=tags)


def instructions_of(
    layout: Layout, settings: EvaluateSettings, leaked: Collection[str] = frozenset()
) -> list[Instruction]:
    """The instructions of the evaluated tasks on the first ``max_images`` images of each split, without leaked ones.

    Raises VilamError if there are none.
    """
    chosen = [each for split in settings.splits for each in _of_split(split, layout, settings, leaked)]
    if not chosen and leaked:
        raise VilamError(f"evaluate: every image of {_named(settings)} was trained on: choose another split")
    if not chosen:
        raise VilamError(f"evaluate: {_named(settings)} has no instructions: choose another split")
    return chosen


def _of_split(split: str, layout: Layout, settings: EvaluateSettings, leaked: Collection[str]) -> Iterator[Instruction]:
    images: set[str] = set()
    for instruction in read_instructions(layout.instructions, split, set(settings.tasks or ALL_TASKS)):
        if instruction.image_id in leaked:
            continue
        images.add(instruction.image_id)
        if len(images) > settings.max_images:
            return
        yield instruction


def _named(settings: EvaluateSettings) -> str:
    name = "the split" if len(settings.splits) == 1 else "the splits"
    return f"{name} {', '.join(map(repr, settings.splits))}"


def leaked_images(records: RecordStore, seen: frozenset[str]) -> set[str]:
    """Ids of the images whose content was trained on; each is reported and left out of the evaluation."""
    leaked = {image_id for image_id in records.ids if content_hash(records[image_id].image) in seen}
    for image_id in sorted(leaked):
        logger.warning("evaluate: image %s was trained on: left out", image_id)
    return leaked
