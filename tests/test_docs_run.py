"""Every command in the blocks of the documents is run, in a small project, and what a block quotes is what is printed.

Each document has a copy of one finished project of ``vilam init``, in which its blocks run from top to bottom, line by
line in bash, with real git and DVC. Two things make that a matter of seconds: the settings of toy.py, and forks.py,
which saves the start-up of each command and stage. `PLACES` says what stands for a placeholder, `SMALL` which numbers
are smaller, `WHOLE` which experiments run to the end, `NOT_RUN` which lines are not run and which test covers them.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import groupby
from pathlib import Path

import pytest
from documents import PROGRAMS, PROJECT, all_commands, blocks
from jsonschema import ValidationError, validate
from shell import Run, Shell

from flows.form import schema
from vilam.commands import ui

NOT_RUN = {
    r"make repro\b.*": "installs; what follows is run: `dvc repro` and `vilam table`, in tests/test_docs_run.py",
    r"make test\b.*": "these tests: .ci/run runs it",
    r"source .venv/bin/activate": "the tests' own environment: tests/test_install.py",
    r"make ui\b.*": "servers that stay: tests/commands/test_ui.py",
    r"vilam ui .*": "servers that stay: tests/commands/test_ui.py",
    r"vilam serve\b.*": "a server that stays: tests/test_team.py",
    r"vilam conventions FOLDER.*": "needs a Hugging Face VLM: tests/commands/test_conventions.py",
    r"mlflow server .*": "a server that stays, started so in tests/test_team.py",
    r"curl .*": "asks a server, which answers such a table in tests/stages/test_register.py",
    r"prefect worker .*": "a server that stays: tests/flows/test_pipeline.py",
    r"prefect (deployment run|flow-run|artifact) .*": "asks a server of Prefect: tests/flows/test_overrides.py",
    r"python -m flows\.pipeline\b.*": "needs a server of Prefect: tests/flows/test_pipeline.py",
    r"python -m flows\.deploy\b.*": "needs a server of Prefect: tests/flows/test_overrides.py",
    r"(.*vilam ablate|for n in) .*": "minutes: tests/ablation/test_runner.py, and its file in tests/test_docs.py",
    r"(\$shot|shot=|close=|differences=|artifacts=|report=|answers=|activate=).*": (
        "pictures of servers in a browser, made by hand: scripts/screenshot.py"
    ),
}
"""Lines that are not run: why, and the file that runs or checks the same."""
EXPERIMENT = "dvc exp run --temp -S train.steps=3000"
"""The experiment in the project from which each document begins."""
PRESETS = r"vilam use configs/models/(qwen|instruct)"
"""Presets whose models are downloaded: a `dvc repro` after them in the same block is not run."""
WHOLE = "README.md", "absent_categories=2"
"""The document whose experiments run to the end, and part of the one that trains a model for the lines that follow it.

The other experiments run to the end of `synthesize`; the settings of all are checked in tests/test_docs.py.
"""
SMALL = {
    r"train\.steps=\d+": "train.steps=3",
    r"max_images=\d+": "max_images=2",
    r"unseen=\d+": "unseen=1",
    r"shots=\d+": "shots=5",
    r"models:/vilam/\d+": "models:/vilam/1",
    r"make small": "true",  # installs; .ci/run runs it before the tests
}
"""Numbers of a default run, and those of the small project."""
BEFORE = {
    "git pull && dvc pull": "rm -r .dvc/cache data/records data/instructions models predictions reports mlruns/*",
}
"""What is done before a line: another clone lacks these."""
PLACES = {
    r"/path/to/shared/folder|/mnt/team/vilam": "{beside}/remote",
    r"/path/to/\w+": "{pictures}",
    r"\.\./other-project": "{beside}/base",
    r"\bFOLDER\b": "{beside}/folder",
}
"""What stands for the placeholders of the documents, besides names of experiments and ids of runs."""


def filled(line: str, shell: Shell) -> str:
    """A line with small numbers and with what stands for its placeholders."""
    for found, small in SMALL.items():
        line = re.sub(found, small, line)
    for found, place in PLACES.items():
        line = re.sub(found, place.format(beside=shell.root.parent, pictures=shell.environment["PICTURES"]), line)
    if re.search(r"\b(NAME|EXPERIMENT)", line):
        first, *_, last = [*shell.experiments(), *shell.experiments()]
        line = re.sub(r"\b(NAME2?|EXPERIMENT)\b", last, line).replace("NAME1", first)
    if re.search(r"\bRUN_?[AB12]\b", line):
        first, *_, last = [*shell.registered_runs(), *shell.registered_runs()]
        line = re.sub(r"\bRUN_?[A1]\b", first, re.sub(r"\bRUN_?[B2]\b", last, line))
    return line


def reason(command: str) -> str | None:
    """Why a line is not run."""
    return next((why for found, why in NOT_RUN.items() if re.fullmatch(found, command)), None)


def planned() -> dict[str, list[tuple[str, str]]]:
    """For each document, its lines and why each is not run ("" if it is); exports stand before what follows them."""
    plan: dict[str, list[tuple[str, str]]] = {}
    seen: dict[str, str] = {EXPERIMENT: "the fixture base"}
    for block, lines in groupby(all_commands(), lambda pair: pair[0]):
        exports = ""
        for _, line in lines:
            line = line.partition("  #")[0].rstrip()
            line = re.sub(r"train\.steps=\d+", "train.steps=3000", line)
            why = reason(line) or ""
            if line == "dvc repro" and any(re.match(PRESETS, each) for each in block.commands):
                why = "models of gigabytes: tests/stages/test_hf.py"
            heavy = "dvc exp run --temp" in line or line.startswith("vilam prepare")
            if heavy and not why:
                why = f"run in {seen[line]}" if line in seen else ""
                seen.setdefault(line, block.document)
            if "dvc exp run" in line and block.document != WHOLE[0] and WHOLE[1] not in line:
                line += " synthesize"
            plan.setdefault(block.document, []).append((exports + line, why))
            if line.startswith("export "):
                exports += f"{line}; "
        if any("vilam use" in line for line in block.commands):
            plan[block.document].append(("git restore params.yaml", ""))
    return plan


def python_blocks() -> Iterator[tuple[str, str]]:
    """Each document with a block of Python, as a line of bash that runs it."""
    for block in blocks():
        if block.language == "python":
            yield block.document, f"cat > block.py <<'END'\n{block.content}END\npython block.py"


PLAN = planned()
for _document, _line in python_blocks():
    PLAN[_document].append((_line, ""))


@pytest.fixture(scope="module")
def base(finished: Shell) -> Shell:
    """A finished project and an experiment."""
    finished.must(filled(EXPERIMENT, finished))
    return finished


def follow(document: str, base: Shell) -> Shell:
    """Run the lines of a document in a copy of the project; a failing line is the last."""
    folder = base.root.parent / re.sub(r"\W", "-", document)
    shutil.copytree(base.root, folder / "project", symlinks=True)
    shutil.copytree(base.root, folder / "base", symlinks=True)
    shell = Shell(folder / "project", base.environment)
    shell.must("git init -q --bare ../origin && git remote add origin ../origin && git push -q -u origin main")
    for line, why in PLAN[document]:
        if line in BEFORE:
            shell.must(BEFORE[line])
        if not why and shell.run(filled(line, shell)).status:
            break
    return shell


@pytest.fixture(scope="module")
def followed(base: Shell) -> Iterator[dict[str, Future[Shell]]]:
    """The runs of all documents, two at a time, the longest first."""
    order = sorted(PLAN, key=lambda name: -sum("dvc exp run" in line and not why for line, why in PLAN[name]))
    with ThreadPoolExecutor(2) as pool:
        yield {name: pool.submit(follow, name, base) for name in order}


@pytest.mark.parametrize("document", PLAN)
def test_every_command_runs(document: str, followed: dict[str, Future[Shell]]) -> None:
    runs = followed[document].result().runs
    print(*runs, sep="\n\n")
    assert runs[-1].status == 0, str(runs[-1])
    assert not [run for run in runs if "Traceback" in run.out]


def test_no_line_of_a_block_of_commands_is_overlooked() -> None:
    """Each begins with a program, assignments before it, or is one that is not run."""
    lines = [(block.document, line) for block, line in all_commands()]
    unknown = [pair for pair in lines if not re.match(rf"(\w+=\S+ )*({'|'.join(PROGRAMS)})\b", pair[1])]
    assert not [pair for pair in unknown if reason(pair[1]) is None]
    assert len(lines) > 80


@pytest.mark.parametrize("found", NOT_RUN)
def test_what_is_not_run_exists_and_names_what_covers_it(found: str) -> None:
    assert any(re.fullmatch(found, line.partition("  #")[0].rstrip()) for _, line in all_commands())
    covering = re.findall(r"[\w./]+\.py|\.ci/run", NOT_RUN[found])
    assert covering and all((PROJECT / path).is_file() for path in covering)


def form(line: str) -> str:
    """A printed line without its numbers and spaces."""
    return " ".join(re.sub(r"[+-]?\d[\d.]*(–[\d.]+)?", "#", line).split())


def quoted(document: str, first: str) -> list[str]:
    """The forms of the lines of a block that begins so."""
    (lines,) = [block.printed for block in blocks() if block.document == document and _begins(block.printed, first)]
    return [form(line) for line in lines]


def _begins(lines: list[str], first: str) -> bool:
    return bool(lines) and lines[0].strip().startswith(first)


def test_the_table_of_the_readme_has_the_rows_of_the_command(base: Shell) -> None:
    shown = base.must("vilam table").out.replace(f"{base.root}/", "")
    assert [form(line) for line in shown.splitlines() if line.strip()] == quoted("README.md", "task")


def test_the_result_of_the_gate_is_printed_as_quoted(followed: dict[str, Future[Shell]]) -> None:
    printed = {form(line) for run in _all_runs(followed) for line in run.out.splitlines()}
    assert {*quoted("docs/evaluation.md", "registered vilam version")} <= printed


def _all_runs(followed: dict[str, Future[Shell]]) -> Iterator[Run]:
    for each in followed.values():
        yield from each.result().runs


def test_the_addresses_of_the_servers_are_printed_as_quoted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(ui, "_serve", lambda commands: None)
    monkeypatch.setattr(ui, "_check_free", lambda port, name: None)
    ui.show(tmp_path, 5317, 4317)
    (lines,) = [block.printed for block in blocks() if block.document == "docs/prefect.md" and block.prompted]
    assert capsys.readouterr().out.splitlines() == lines


def test_what_prefect_says_of_a_misspelt_setting_is_as_quoted() -> None:
    with pytest.raises(ValidationError) as error:
        validate({"overrides": {"train": {"stepz": 500}}}, {"properties": {"overrides": schema()}})
    (lines,) = [block.printed for block in blocks() if _begins(block.printed, "Error creating flow run")]
    assert error.value.message.rstrip(".") in " ".join(lines).removesuffix(".")


NOT_PRINTED = {
    "vilam/": "the folders, which tests/test_architecture.py knows",
    "flows →": "the arrows between rooms: tests/test_architecture.py",
    "registry ─": "a drawing",
}
"""Beginnings of blocks that are neither commands nor what a command prints."""
COMPARED = ("task", "registered vilam version", "MLflow", "Error creating flow run")
"""Beginnings of blocks that the tests above compare."""


def test_every_other_block_is_known() -> None:
    begins = [block.printed[0].strip() for block in blocks() if block.printed]
    assert not [each for each in begins if not each.startswith((*NOT_PRINTED, *COMPARED))]
    assert all(any(each.startswith(known) for each in begins) for known in (*NOT_PRINTED, *COMPARED))
