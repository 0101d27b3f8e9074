"""``register``: the trained model into the registry, as challenger, and as champion if it passes the gate."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pandas as pd

from vilam.config import Settings
from vilam.data.card import read_card
from vilam.errors import VilamError
from vilam.evaluation.gate import Answered, gate
from vilam.evaluation.questions import read_rows, tags_of_questions, version_of_questions
from vilam.files import read_json, recover, write_atomically
from vilam.inference.serving import serving
from vilam.layout import ANSWERS, Layout
from vilam.tracking.registration import Candidate, best_so_far, one_at_a_time, register_model
from vilam.tracking.registry import Version, download_artifact, versions
from vilam.tracking.sharing import export_versions, take_over


def run(settings: Settings, root: Path) -> None:
    """Compare models/train with the best so far by the answers of both, register it, write metrics/register.json.

    Raises VilamError if something is missing or broken, the metrics are of another model, or MLflow cannot be used.
    """
    layout, own = Layout(root), settings.register_
    candidate, rows = _candidate(settings, layout)
    served = serving()
    with one_at_a_time(root):
        take_over(root, own.model_name, served)
        others = [each for each in versions(root, own.model_name) if each.run_id != candidate.run_id]
        rivals = best_so_far(others, candidate.tags["test_data"], own)
        verdict = gate(Answered("this model", rows), [_answered(each, rows, settings, layout) for each in rivals], own)
        best = next((each for each in rivals if _name(each) == verdict.best), None)
        made = register_model(root, candidate, verdict.passed, verdict.reasons, best, own, served)
        export_versions(root, own.model_name)
    write_atomically(layout.metrics("register"), json.dumps(asdict(made), indent=2) + "\n")
    print(f"registered {own.model_name} version {made.version}: {'champion' if made.passed else 'challenger'}")
    print("\n".join(f"  {reason}" for reason in made.reasons))


def _candidate(settings: Settings, layout: Layout) -> tuple[Candidate, pd.DataFrame]:
    """The trained model with its metrics, and its answers."""
    model, scored = layout.model("train"), layout.metrics("evaluate")
    if (metrics := read_json(scored, "evaluate").get("train")) is None:
        raise VilamError(f"{scored}: of another model than models/train: set evaluate.model to null and evaluate again")
    recover(model)
    run_id = read_json(model / "run.json", "train").get("run_id")
    if run_id is None:
        raise VilamError(f"{model / 'run.json'}: no MLflow run: run `dvc repro -f -s train`")
    if not (model / "config.json").is_file():
        raise VilamError(f"{model}: no model here: run `dvc repro train` first")
    rows = read_rows(layout.answers("train"))
    tags = {"trained_on": read_card(model).title, **tags_of_questions(read_card(layout.records), rows)}
    return Candidate(model, run_id, metrics, tags), rows


def _name(version: Version) -> str:
    return f"version {version.number}"


def _answered(version: Version, rows: pd.DataFrame, settings: Settings, layout: Layout) -> Answered:
    """A registered model's answers to the questions of ``rows``: those of its evaluation, or new ones."""
    wanted = version_of_questions(rows)
    if version.tags.get("test_data") == wanted:
        known = read_rows(download_artifact(version.run_id, ANSWERS, layout.root))
        if version_of_questions(known) == wanted:  # its run may have been evaluated again since
            return Answered(_name(version), known)
    return Answered(_name(version), _asked(version, rows, settings, layout))


def _asked(version: Version, rows: pd.DataFrame, settings: Settings, layout: Layout) -> pd.DataFrame:
    """New answers of a registered model to the questions of ``rows``; not about images that it was trained on."""
    from vilam.data.store import RecordStore
    from vilam.evaluation.protocol import score
    from vilam.inference.resolve import resolve_model
    from vilam.stages.evaluate import answers_of, instructions_of, leaked_images, opened

    name = settings.register_.model_name
    print(f"{name} version {version.number} was evaluated on other data: it answers the questions of these now")
    model = opened(resolve_model("register", f"models:/{name}/{version.number}", layout.root))
    records = RecordStore(layout.records, *settings.evaluate.splits)
    ids = {*rows["instruction_id"]}
    leaked = leaked_images(records, model.seen)
    every = settings.evaluate.model_copy(update={"max_images": len(records)})
    asked = [
        each for each in instructions_of(layout, every) if each.instruction_id in ids and each.image_id not in leaked
    ]
    if not asked:
        return pd.DataFrame({"question_id": []})
    answers = answers_of(model, records, asked, settings.evaluate, f"version {version.number}")
    return score(answers, records, settings.evaluate, settings.seed).rows
