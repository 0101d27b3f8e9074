"""The stages of dvc.yaml as one Prefect flow.

python -m flows.pipeline                                  the same as `dvc repro`, shown in the Prefect UI
python -m flows.pipeline train.steps=500 seed=3           the same with other settings, as a DVC experiment
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from prefect import flow
from prefect.runtime import flow_run

from flows.experiment import run_experiment
from flows.overrides import Overrides, check, parsed
from flows.progress import Progress
from flows.stage import run_stage
from vilam.cli import ENVIRONMENT
from vilam.config import read_yaml
from vilam.errors import VilamError
from vilam.overrides import settings_of

ROOT = Path(__file__).parents[1]


@flow(name="vilam-pipeline")
def pipeline(overrides: Overrides | None = None) -> None:
    """Run every stage that has changed; with ``overrides``, the whole pipeline once as an experiment.

    overrides: settings of params.yaml that differ, nested as there, such as {"train": {"steps": 500}}.
    """
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    stages = read_stages(ROOT)
    progress = Progress(stages)
    if overrides and settings_of(overrides, "overrides"):  # an untouched form sends empty sections
        check(overrides, ROOT)
        run_experiment(flow_run.name, overrides, stages, ROOT, progress)
        return
    for stage in stages:
        run_stage(stage, ROOT, progress)


def read_stages(root: Path) -> list[str]:
    """The stages in the order of dvc.yaml, in which they run."""
    return list(read_yaml(root / "dvc.yaml")["stages"])


def main(words: list[str]) -> None:
    """Run the flow in this process; invalid settings give one line on stderr and exit status 1."""
    try:
        overrides = parsed(words, ROOT)
        check(overrides, ROOT)
        pipeline(overrides or None)
    except VilamError as error:
        print(f"vilam: {error}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main(sys.argv[1:])
