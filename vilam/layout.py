"""Every path of a project, in one place.

data/records, data/instructions      what `prepare` and `synthesize` write
models/STAGE                         what `activate` and `train` write
models/registered                    the registered versions, for others
metrics/STAGE.json, metrics/plots    numbers, and the tables of the plots
predictions, reports                 what `evaluate` writes
dvc_plots                            the page of all plots
checkpoints/STAGE/KEY                unfinished training
ablations/NAME                       all jobs of an ablation
mlruns                               MLflow's database and artifacts

DVC runs an experiment (`dvc exp run --temp`, its queue) in a copy of the project, which it removes afterwards. What
must outlast the copy, checkpoints and mlruns, is in the project itself, and so are the folders that settings name.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

REGISTERED = re.compile(r"models:/([^/@]+)(?:@([^/@]+)|/(\d+))")
"""The address of a registered model: its name and an alias or a version."""
COPIES = (".dvc", "tmp", "exps")
"""The folder of a project in which DVC makes the copies, at any depth."""


def project(root: Path) -> Path:
    """The project of the folder ``root``: itself, unless it is the copy in which DVC runs an experiment."""
    return next((path.parents[2] for path in root.absolute().parents if path.parts[-3:] == COPIES), root)


def named(root: Path, path: str | Path) -> Path:
    """The file or folder that a setting names, relative to the project, as a path from the working directory ``root``.

    In the copy of an experiment, a file that is there, such as a recipe that git tracks, is the copy's; anything else,
    such as a folder of images or a model, is the project's.
    """
    return Path(path) if project(root) == root or (root / path).is_file() else project(root) / path


def shipped() -> Path:
    """The folder of the files that `vilam init` copies: in the installed package, or the checkout around it."""
    packaged = Path(__file__).with_name("project")
    return packaged if packaged.is_dir() else packaged.parents[1]


@dataclass(frozen=True, slots=True)
class Layout:
    """The paths of the project whose folder is ``root``."""

    root: Path

    @property
    def params(self) -> Path:
        """The settings."""
        return self.root / "params.yaml"

    @property
    def records(self) -> Path:
        """The image records."""
        return self.root / "data" / "records"

    @property
    def instructions(self) -> Path:
        """The instructions, rendered from the records."""
        return self.root / "data" / "instructions"

    def model(self, stage: str) -> Path:
        """The model folder that a stage writes: `activate` or `train`."""
        return self.root / "models" / stage

    @property
    def registered(self) -> Path:
        """The registered versions as files, for others to import."""
        return self.root / "models" / "registered"

    def metrics(self, stage: str) -> Path:
        """The metrics of a stage, as JSON."""
        return self.root / "metrics" / f"{stage}.json"

    def plot(self, name: str) -> Path:
        """The table of a plot, as CSV."""
        return self.root / "metrics" / "plots" / f"{name}.csv"

    @property
    def plots_page(self) -> Path:
        """The page of all plots, where DVC writes its own."""
        return self.root / "dvc_plots" / "index.html"

    @property
    def predictions(self) -> Path:
        """The folder of the answers, with a Parquet file for each model."""
        return self.root / "predictions"

    def answers(self, model: str) -> Path:
        """The answers of a model, by the key of its metrics: `activate`, `train` or `other`."""
        return self.predictions / f"{model}.parquet"

    @property
    def reports(self) -> Path:
        """The folder of the report and its gallery."""
        return self.root / "reports"

    @property
    def ablations(self) -> Path:
        """The folders of ablations, each with all of its jobs."""
        return self.root / "ablations"

    def checkpoints(self, stage: str, key: str) -> Path:
        """The checkpoints of one run of a stage, in the project; ``key`` names the run."""
        return project(self.root) / "checkpoints" / stage / key

    @property
    def runs(self) -> Path:
        """MLflow's database and artifacts, in the project."""
        return project(self.root) / "mlruns"

    @property
    def recipes(self) -> Path:
        """The recipes of data sets."""
        return self.root / "configs" / "datasets"

    @property
    def conventions(self) -> Path:
        """The conventions of Hugging Face VLMs."""
        return self.root / "configs" / "conventions"

    @property
    def lock(self) -> Path:
        """DVC's lock file: the versions of the data and the models."""
        return self.root / "dvc.lock"


ANSWERS = Layout(Path()).answers("train").as_posix()
"""The answers of the trained model: in the project's folder, and among the artifacts of its run."""
