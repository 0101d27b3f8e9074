"""The README tells the truth: its paths are there, its settings exist, its commands run."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import typer
import yaml

from vilam.cli import app

DOCUMENTS = [
    "README.md",
    "CONTRIBUTING.md",
    "docs/prefect.md",
    "docs/bad-input.md",
    "docs/screenshots.md",
    "docs/backbones.md",
    "docs/datasets.md",
    "docs/evaluation.md",
]
MADE = ("reports/", "metrics/", "models/", "predictions/", "checkpoints/", "mlruns/", "data/")
"""What a run makes: not there in a fresh clone."""
METRICS = ("rec_", "reg_", "cycle/", "dialogue/")
"""How names of metrics begin, which look like paths."""


def text(project: Path, name: str = "README.md") -> str:
    return (project / name).read_text(encoding="utf-8")


def blocks(content: str) -> str:
    """All that stands in fenced blocks."""
    return "\n".join(re.findall(r"^```\w*\n(.*?)^```", content, re.M | re.S))


@pytest.mark.parametrize("name", DOCUMENTS)
def test_links_lead_to_files(name: str, project: Path) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)", text(project, name))
    folder = (project / name).parent
    assert not [link for link in links if not (folder / link).exists()]


@pytest.mark.parametrize("name", DOCUMENTS)
def test_paths_are_there(name: str, project: Path) -> None:
    found = re.findall(r"`((?:[\w.-]+/)+[\w.-]*)`", text(project, name))
    missing = [path for path in found if not (project / path).exists() and not path.startswith((*MADE, *METRICS))]
    assert not [path for path in missing if "NAME" not in path and "WORD" not in path]


def settings_of(content: str) -> list[str]:
    """Names of settings: after -S, or in the table of those that matter."""
    listed = re.findall(r"^\| (`[a-z_.`, ]+`) \|", content, re.M)
    of_table = re.findall(r"`([\w.]+\.\w+)`", " ".join(listed))
    return re.findall(r"-S ([\w.]+)=", content) + of_table


def test_settings_exist(project: Path) -> None:
    params = yaml.safe_load((project / "params.yaml").read_text())
    names = settings_of(text(project))
    assert len(names) > 10
    for name in names:
        content = params
        for part in name.split("."):
            assert part in content, name
            content = content[part]


def test_targets_exist(project: Path) -> None:
    make = shutil.which("make")
    if not make:
        pytest.skip("no make here")
    shown = subprocess.run([make, "help"], cwd=project, capture_output=True, text=True, check=True).stdout
    targets = {line.split()[1] for line in shown.splitlines()}
    used = {target for name in DOCUMENTS for target in re.findall(r"\bmake ([a-z]+)\b", blocks(text(project, name)))}
    assert {"repro", "test", "ui"} <= targets
    assert not used - targets


def test_commands_and_options_exist(project: Path) -> None:
    group = typer.main.get_command(app)
    assert isinstance(group, typer.core.TyperGroup)
    for words in re.findall(r"^vilam (\w+)(.*)$", blocks(text(project)), re.M):
        known = {option for parameter in group.commands[words[0]].params for option in parameter.opts}
        assert set(re.findall(r"--\w+", words[1])) <= known


@pytest.mark.parametrize("words", [["--help"], ["predict", "--help"], ["models", "--help"]])
def test_the_help_is_given(words: list[str], project: Path) -> None:
    done = subprocess.run([sys.executable, "-m", "vilam", *words], cwd=project, capture_output=True, text=True)
    assert done.returncode == 0
    assert "Usage" in done.stdout


def test_the_python_of_the_readme_compiles(project: Path) -> None:
    (code,) = re.findall(r"^```python\n(.*?)^```", text(project), re.M | re.S)
    imports = "\n".join(line for line in code.splitlines() if line.startswith("from"))
    environment = {**os.environ, "PYTHONPATH": str(project)}
    compile(code, "README.md", "exec")
    subprocess.run([sys.executable, "-c", imports], env=environment, check=True)
