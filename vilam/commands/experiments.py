"""``vilam experiments``: the workspace and the DVC experiments, with the settings that differ and the main metrics."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from rich import box
from rich.table import Table

from vilam.commands.processes import output_of
from vilam.commands.text import as_text
from vilam.config import RegisterSettings
from vilam.evaluation.main import MAIN

UNFINISHED = ("queued", "running", "failed")
"""States of experiments whose metrics are still those of the commit that they began from."""
MISSING = "(not set)"
SAME_TEST_DATA = {
    f"evaluate.{name}" for name in ("include_activate", "zero_shot", "model", "processes", "threads", "batch_size")
} | {
    "evaluate.gallery",
    "evaluate.bootstrap",
    "prepare.scenes.num_images.train",
}
"""Settings of prepare and evaluate that leave the test questions as they are."""
FAILURE = "experiments: {}: run it in a project under git and DVC"


@dataclass(frozen=True, slots=True)
class Experiment:
    """An experiment or the workspace: its settings and metrics by dotted name, and the version that it registered."""

    name: str
    state: str
    created: datetime | None
    settings: Mapping[str, Any]
    metrics: Mapping[str, float]
    version: int | None


def show_experiments(settings: RegisterSettings, root: Path) -> None:
    """Print the workspace and all experiments; raises VilamError if DVC cannot list them."""
    workspace, *others = read_experiments(root)
    print(experiments_table(workspace, others, [settings.primary, *settings.guards]))
    if any(_has_other_test_data(workspace, each) for each in others):
        print("Other settings of prepare or evaluate, or another seed: other test data, whose numbers do not compare.")
    if not others:
        print("no experiments yet: `dvc exp run --temp -S train.steps=500` makes one beside the workspace")


def read_experiments(root: Path) -> list[Experiment]:
    """The workspace, then the experiments of every commit that has some, as `dvc exp show` knows them."""
    revisions = [f"--rev={commit}" for commit in ("HEAD", *_commits_with_experiments(root))]
    listed = json.loads(output_of([sys.executable, "-m", "dvc", "exp", "show", "--json", *revisions], root, FAILURE))
    found = [_experiment("workspace", "", listed[0].get("data"))]
    for group in (group for commit in listed for group in commit["experiments"] or []):
        newest = group["revs"][0]
        name = group["name"] or newest["name"] or newest["rev"][:7]
        found.append(_experiment(name, (group["executor"] or {}).get("state", ""), newest["data"]))
    return found


def experiments_table(workspace: Experiment, others: Sequence[Experiment], of_gate: Iterable[str]) -> str:
    """A row for each: its name above the settings that differ from the workspace's, metrics and version beside it."""
    main = (f"{task}/{metric}" for task, metric in MAIN.items())
    names = dict.fromkeys([*of_gate, *main])
    shown = [name for name in names if any(name in each.metrics for each in (workspace, *others))]
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 0, 0, 1))
    table.add_column("experiment and its settings", overflow="fold")
    table.add_column("created", no_wrap=True)
    for name in (*shown, "version"):
        table.add_column(re.sub(r"_(?=[a-z])|/", "\n", name), justify="right", no_wrap=True)
    for each in (workspace, *others):
        title = f"{each.name} ({each.state})" if each.state in UNFINISHED else each.name
        created = "" if each.created is None else f"{each.created:%m-%d %H:%M}"
        metrics = (f"{each.metrics[name]:.3f}" if name in each.metrics else "-" for name in shown)
        changes = [f"  {name}={value}" for name, value in differences(workspace.settings, each.settings)]
        table.add_row(
            "\n".join([title, *changes]), created, *metrics, "-" if each.version is None else str(each.version)
        )
    return as_text(table)


def _has_other_test_data(workspace: Experiment, other: Experiment) -> bool:
    changed = {name for name, _ in differences(workspace.settings, other.settings)} - SAME_TEST_DATA
    return any(name.startswith(("prepare.", "evaluate.")) or name == "seed" for name in changed)


def differences(base: Mapping[str, Any], other: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The settings of ``other`` that differ from ``base``, with their values as params.yaml has them."""
    for name in dict.fromkeys([*base, *other]):
        if base.get(name, MISSING) != other.get(name, MISSING):
            value = other.get(name, MISSING)
            yield name, value if isinstance(value, str) else json.dumps(value)


def _commits_with_experiments(root: Path) -> list[str]:
    """DVC keeps an experiment in ``refs/exps/64/ce99b1…/NAME``, under the commit that it began from."""
    lines = output_of(["git", "for-each-ref", "--format=%(refname)", "refs/exps"], root, FAILURE).split()
    parts = [line.split("/") for line in lines]
    return list(dict.fromkeys(part[2] + part[3] for part in parts if len(part) == 5 and len(part[2] + part[3]) == 40))


def _experiment(name: str, state: str, data: Mapping[str, Any] | None) -> Experiment:
    """From a revision of `dvc exp show --json`; without numbers if it has not ended or cannot be read."""
    content = data or {"params": {}, "metrics": {}, "timestamp": None}
    files = {} if state in UNFINISHED else _contents(content["metrics"])
    return Experiment(
        name=name,
        state=state,
        created=datetime.fromisoformat(content["timestamp"]) if content["timestamp"] else None,
        settings=dict(_flat(_contents(content["params"]).get("params.yaml") or {})),
        metrics=(files.get("metrics/evaluate.json") or {}).get("train") or {},
        version=(files.get("metrics/register.json") or {}).get("version"),
    )


def _contents(files: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    return {path: read["data"] for path, read in files.items() if "data" in read}


def _flat(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in settings.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
