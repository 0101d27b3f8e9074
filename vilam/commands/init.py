"""``vilam init``: a new project folder: settings, stages, configs, flows and docs, under git and DVC."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

from vilam.errors import VilamError
from vilam.files import write_atomically
from vilam.layout import shipped

LAID = (
    *("configs", "docs", "flows", ".dvc/.gitignore", ".dvc/config", ".dvc/plots", ".dvcignore", ".gitignore"),
    *(
        "data/README.md",
        "dvc.yaml",
        "mlruns/README.md",
        "params.yaml",
        "prefect.toml",
        "prefect.yaml",
        "requirements-small.lock",
    ),
)
"""Files and folders that are copied; pyproject.toml puts the same ones into the wheel."""
LEFT_OUT = {"__pycache__", "images"}
"""Folders that are not copied, in a checkout; the wheel does not have them."""
SHOWN = 3
"""Existing files that a message names, at most."""
GRAPH = """\
# The one graph of the project: `dvc repro` runs what has changed, flows/pipeline.py reads its stages from here.
# The code is a package: a stage depends on requirements.txt, which says which version of vilam runs it.
"""
README = """\
# A project of vilam

    pip install -r requirements.txt                        # the package
    dvc repro                                              # data, two phases of training, evaluation, registry
    vilam table                                            # the metrics, and where to find the report
    vilam ui                                               # runs and models in a browser
    vilam predict IMAGE --locate "the red disc"            # ask the model
    vilam datasets                                         # the data sets that vilam reads
    dvc exp run --temp -S prepare.source=voc -S prepare.root=DIR   # train on one of them, as an experiment

`params.yaml` holds the settings (docs/settings.md), `dvc.yaml` the stages, `configs/` recipes and presets, `flows/` the
pipeline for Prefect (docs/prefect.md). After `pip install -U vilam`, write the new version into `requirements.txt`:
`dvc repro` then runs all stages again.
"""


def init(folder: Path) -> str:
    """Make a project in ``folder``; returns what it did about git, in one line.

    Raises VilamError and writes nothing if one of the project's files is there already.
    """
    files = project_files()
    there = [name for name in files if os.path.lexists(folder / name)]
    if there:
        names = ", ".join(there[:SHOWN]) + (f" and {len(there) - SHOWN} more" if len(there) > SHOWN else "")
        raise VilamError(f"{folder}: has {names}, which vilam init would overwrite: name another folder")
    has_git = shutil.which("git") is not None
    if not has_git:
        files[".dvc/config"] += "    no_scm = true\n"
    for name, content in files.items():
        write_atomically(folder / name, content)
    return _commit(folder, list(files)) if has_git else "without git there are no experiments (`dvc exp run`)"


def project_files() -> dict[str, str]:
    """The content of each file of a new project, by its path in the project."""
    root = shipped()
    files = {str(path.relative_to(root)): path.read_text(encoding="utf-8") for path in _laid(root)}
    own = {
        "README.md": README,
        "requirements.txt": f"vilam=={version('vilam')}\n",
        "dvc.yaml": graph(files["dvc.yaml"]),
    }
    return files | own


def graph(text: str) -> str:
    """A dvc.yaml whose stages depend on requirements.txt in place of the code of vilam."""
    stages = text[text.index("stages:\n") :]
    without_code = re.sub(r"^ +- vilam/.*\n", "", stages, flags=re.M)
    return GRAPH + re.sub(r"^( +)deps:\n", r"\g<0>\1  - requirements.txt\n", without_code, flags=re.M)


def _laid(root: Path) -> Iterator[Path]:
    for name in LAID:
        path = root / name
        found = sorted(path.rglob("*")) if path.is_dir() else [path]
        yield from (each for each in found if each.is_file() and not LEFT_OUT & {*each.relative_to(root).parts})


def _commit(folder: Path, names: list[str]) -> str:
    """Make a repository with a first commit, which experiments begin from; a repository around it stays as it is."""
    if _git(folder, "rev-parse", "--is-inside-work-tree"):
        return "commit the new files to this git repository: experiments (`dvc exp run`) begin from a commit"
    for words in (["init", "--quiet"], ["add", "--", *names], ["commit", "--quiet", "--message", "A project of vilam"]):
        if not _git(folder, *words):
            return f"`git {words[0]}` failed; experiments (`dvc exp run`) begin from a commit: make the first one"
    return "its files are the first commit of a new git repository"


def _git(folder: Path, *words: str) -> bool:
    return subprocess.run(["git", *words], cwd=folder, capture_output=True).returncode == 0
