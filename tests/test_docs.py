"""The docs are correct: links, paths and settings exist, commands run."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import typer
from documents import BLOCK, DOCUMENTS, PROJECT, text
from dvc.utils.hydra import apply_overrides

from flows.overrides import check, parsed
from vilam.ablation.plan import read_plan
from vilam.cli import app
from vilam.commands.use import use
from vilam.config import Settings, load_settings
from vilam.config.names import fields, located

MADE = (
    *("reports/", "metrics/", "models/", "predictions/", "checkpoints/", "mlruns/", "data/"),
    *("data/records/", "data/instructions/", "mlruns/artifacts/"),
)
"""Outputs of runs, which a fresh clone does not have."""
METRICS = ("rec_", "reg_", "presence/", "dialogue/", "cycle/")
"""Prefixes of names of metrics, which look like paths."""


def blocks(content: str) -> str:
    """The content of all fenced blocks."""
    return "\n".join(found[2] for found in BLOCK.finditer(content))


@pytest.mark.parametrize("name", DOCUMENTS)
def test_links_exist(name: str, project: Path) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)", text(name))
    folder = (project / name).parent
    assert not [link for link in links if not (folder / link).exists()]


@pytest.mark.parametrize("name", DOCUMENTS)
def test_paths_exist(name: str, project: Path) -> None:
    found = re.findall(r"`((?:[\w.-]+/)+[\w.-]*)`", text(name))
    made = tuple(path.removeprefix(f"{Path(name).parent}/") for path in MADE)
    missing = [path for path in found if not (project / path).exists() and not path.startswith((*made, *METRICS))]
    assert not [path for path in missing if "NAME" not in path and "WORD" not in path]


def commands(first: str) -> list[Any]:
    """The commands of the docs that begin with these words, from blocks and from lines, as parameters of a test.

    A backslash at the end continues a line; && or a pipe separates commands; # begins a comment.
    """
    found = []
    for name in DOCUMENTS:
        content = text(name)
        inline = re.findall(r"`(dvc exp run [^`…]+|python -m flows[^`…]+)`", content)
        for line in [*blocks(content).replace("\\\n", " ").splitlines(), *inline]:
            if not re.match(r"(\w+=\S+ )*(" + first + r")(?!\S)|.*&& *(" + first + r")(?!\S)", line):
                continue
            for part in re.split(r"&&|(?<!\w) \| ", line):
                words = shlex.split(part, comments=True)
                while words and re.fullmatch(r"\w+=.*", words[0]):
                    words = words[1:]
                if " ".join(words).startswith(first.split("|")[0]):
                    found.append(pytest.param(words, id=f"{name}: {' '.join(words)[:60]}"))
    return found


@pytest.fixture
def own(project: Path, tmp_path: Path) -> Path:
    """A folder with the project's own params.yaml."""
    shutil.copy(project / "params.yaml", tmp_path)
    return tmp_path


@pytest.mark.parametrize("words", commands("dvc exp run"))
def test_overrides_of_dvc_give_valid_settings(words: list[str], own: Path) -> None:
    overrides = [value for option, value in pairwise(words) if option == "-S"]
    others = [word for word in words[3:] if word not in ("-S", *overrides)]
    assert others in ([], ["--temp"], ["--queue"])
    apply_overrides(own / "params.yaml", overrides)
    load_settings(own / "params.yaml")


@pytest.mark.parametrize("words", commands("python -m flows.pipeline"))
def test_words_of_the_flow_give_valid_settings(words: list[str], own: Path) -> None:
    check(parsed(words[3:], own), own)


@pytest.mark.parametrize("words", commands("vilam"))
def test_commands_of_vilam_are_accepted(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Parsed as for a run: commands, options and the number of arguments."""
    monkeypatch.setattr(sys, "argv", words)
    command, arguments = typer.main.get_command(app), words[1:]
    context = command.make_context("vilam", [*arguments])
    while isinstance(command, typer.core.TyperGroup) and (rest := [*context._protected_args, *context.args]):
        name, command, arguments = command.resolve_command(context, rest)
        assert command is not None and name is not None
        context = command.make_context(name, [*arguments], parent=context)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_commands_of_vilam_in_a_sentence_exist(name: str) -> None:
    """Their arguments may be left out there."""
    known = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    for words in map(str.split, re.findall(r"`vilam ([^`]+)`", text(name))):
        options = {option for each in known[words[0]].params for option in each.opts}
        assert {word for word in words if word.startswith("--")} <= options


@pytest.mark.parametrize("words", commands("prefect deployment run"))
def test_parameters_of_the_deployment_give_valid_settings(words: list[str], own: Path) -> None:
    parameters = dict(value.split("=", 1) for option, value in pairwise(words) if option == "-p")
    assert parameters.keys() == {"overrides"}
    check(json.loads(parameters["overrides"]), own)


@pytest.mark.parametrize("words", commands("python -m"))
def test_modules_of_the_docs_exist(words: list[str]) -> None:
    assert importlib.util.find_spec(words[2]) is not None


@pytest.mark.parametrize("words", commands("vilam datasets"))
def test_data_sets_of_the_docs_exist(words: list[str], project: Path) -> None:
    if words[2:3] == ["check"]:
        words = ["vilam", "datasets", *(["show", words[3]] if len(words) == 5 else [])]  # there are no files to check
    done = subprocess.run([sys.executable, "-m", *words], cwd=project, capture_output=True, text=True)
    assert done.returncode == 0 and len(done.stdout) > 100, done.stderr


@pytest.mark.parametrize("words", commands("vilam use"))
def test_presets_of_the_docs_are_valid(words: list[str], project: Path, own: Path) -> None:
    assert use(project / words[2], own / "params.yaml")


@pytest.mark.parametrize("words", commands("vilam ablate"))
def test_ablations_of_the_docs_are_valid(words: list[str], project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("VILAM_BCCD", "VILAM_SHOTS", "VILAM_START"):
        monkeypatch.setenv(variable, "5")
    assert read_plan(project / words[2], project / "params.yaml")[0].arms


@pytest.mark.parametrize("name", DOCUMENTS)
def test_settings_exist(name: str) -> None:
    """A name in a section is a setting, a section, or an entry of a mapping."""
    sections = "|".join(fields(Settings).keys() - {"seed"})
    for found in re.findall(rf"`((?:{sections})(?:\.[a-z_]\w*)+)(?:[:=][^`]*)?`", text(name)):
        if not (PROJECT / found.replace(".", "/")).with_suffix(".py").exists():
            located(found.removesuffix(".py"), name)


def test_commands_are_found() -> None:
    """So that the tests above test something."""
    least = {"dvc exp run": 10, "vilam": 20, "python -m flows.pipeline": 2, "vilam datasets": 3, "vilam use": 2}
    assert all(len(commands(first)) >= count for first, count in least.items())


@pytest.mark.parametrize("name", DOCUMENTS)
def test_targets_of_make_exist(name: str) -> None:
    targets = {*re.findall(r"^([a-z]+):", text("Makefile"), re.M)}
    assert not {*re.findall(r"\bmake ([a-z]+)\b", blocks(text(name)))} - targets
    assert not {*re.findall(r"`make ([a-z]+)`", text(name))} - targets


@pytest.mark.parametrize("words", [["--help"], ["predict", "--help"], ["models", "--help"]])
def test_help_is_printed(words: list[str], project: Path) -> None:
    done = subprocess.run([sys.executable, "-m", "vilam", *words], cwd=project, capture_output=True, text=True)
    assert done.returncode == 0
    assert "Usage" in done.stdout


def test_the_python_of_the_readme_compiles(project: Path) -> None:
    (code,) = re.findall(r"^```python\n(.*?)^```", text(), re.M | re.S)
    imports = "\n".join(line for line in code.splitlines() if line.startswith("from"))
    environment = {**os.environ, "PYTHONPATH": str(project)}
    compile(code, "README.md", "exec")
    subprocess.run([sys.executable, "-c", imports], env=environment, check=True)
