"""The arrows between the rooms, read from imports; docs/architecture.md draws them."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from graphlib import TopologicalSorter
from importlib.metadata import packages_distributions
from itertools import chain
from pathlib import Path

import pytest

from vilam.inference.serving import NEEDED

PROJECT = Path(__file__).parents[1]
FILES = sorted([*(PROJECT / "vilam").rglob("*.py"), *(PROJECT / "flows").rglob("*.py")])
SHARED = {"errors", "config", "files", "progress", "launch", "overrides", "layout", "draws"}
"""Files that every room may import; they import only each other."""
ROOMS = ("stages", "planning", "training", "cycle", "evaluation", "inference", "models", "tasks", "data", "geometry")
"""Each room may import the rooms after it, and no others."""
BESIDE = {
    "tracking": set(),
    "ablation": {"evaluation", "tracking"},  # it runs stages as processes of their own and reads their results
    "commands": {*ROOMS, "ablation", "tracking"} - {"stages"},
    "cli": {"commands", "stages", "ablation", "tracking"},
    "__main__": {"cli"},
}
"""Rooms outside of the line of ROOMS, and the rooms that they may import."""
TRACKING = {"stages", "inference"}
"""The rooms in the line that may also import tracking, for runs and for registered models."""
ALLOWED = {
    **{
        room: {*ROOMS[number + 1 :]} | ({"tracking"} if room in TRACKING else set())
        for number, room in enumerate(ROOMS)
    },
    **BESIDE,
}
FLOWS = {
    *("vilam.cli", "vilam.config", "vilam.config.names", "vilam.errors", "vilam.layout", "vilam.overrides"),
    *("vilam.progress", "vilam.tracking.address"),
}
"""Modules of vilam that flows/ may import."""
HEAVY = {"torch", "transformers", "deepspeed", "mlflow", "prefect", "pandas", "numpy", "pyarrow", "matplotlib"}


def imports(path: Path) -> Iterator[str]:
    """Every module that a file imports, at any line, as a dotted name."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0 and node.module, f"{path}: relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def named(path: Path) -> str:
    return ".".join(path.relative_to(PROJECT).with_suffix("").parts).removesuffix(".__init__")


MODULES = {named(path): path for path in FILES}


def modules(path: Path) -> Iterator[str]:
    """The modules and packages of this project that a file imports."""
    for name in imports(path):
        found = name if name in MODULES else name.rpartition(".")[0]
        if found in MODULES:
            yield found


def room(module: str) -> str:
    """The room of a module of vilam: ``vilam.tasks.rec_box`` is in ``tasks``."""
    return module.split(".")[1] if module.startswith("vilam.") else module


@pytest.mark.parametrize("path", FILES, ids=named)
def test_arrows_run_one_way(path: Path) -> None:
    here = room(named(path))
    if here.startswith("flows"):
        assert {module for module in modules(path) if not module.startswith("flows")} <= FLOWS
        return
    found = {room(module) for module in modules(path)} - {here, "vilam"}
    allowed = SHARED if here in SHARED | {"vilam"} else SHARED | ALLOWED[here]
    assert found <= allowed


def test_every_room_has_its_arrows() -> None:
    rooms = {room(name) for name in MODULES if name.startswith("vilam.")}
    assert rooms == SHARED | ALLOWED.keys()


def test_there_are_no_circular_imports() -> None:
    """Between files, including imports for type checking."""
    graph = {name: {found for found in modules(path) if found != name} for name, path in MODULES.items()}
    assert len([*TopologicalSorter(graph).static_order()]) == len(graph)  # raises CycleError if there is one


@pytest.mark.parametrize(
    ("package", "only"), [("prefect", r"flows/.*"), ("mlflow", r"vilam/tracking/.*"), ("dvc", r"(?!)")]
)
def test_a_tool_is_imported_only_in_its_room(package: str, only: str) -> None:
    users = {str(path.relative_to(PROJECT)) for path in FILES if package in {m.split(".")[0] for m in imports(path)}}
    assert all(re.fullmatch(only, user) for user in users), users


@pytest.mark.parametrize("module", ["vilam.cli", "vilam.config", "vilam.progress", "vilam.errors"])
def test_the_command_line_starts_light(module: str) -> None:
    code = f"import {module}, sys; print(' '.join({{name.partition('.')[0] for name in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert not HEAVY & set(done.stdout.split())


def test_imported_packages_are_declared() -> None:
    content = tomllib.loads((PROJECT / "pyproject.toml").read_text())
    project = content["project"]
    lines = [*project["dependencies"], *chain(*project["optional-dependencies"].values())]
    declared = {re.split(r"[=<>]", line)[0].lower() for line in lines}
    distributions = packages_distributions()
    used = {module.partition(".")[0] for path in FILES for module in imports(path)}
    third = used - set(sys.stdlib_module_names) - {"vilam", "flows"}
    owners = {name: {name, *(owner.lower() for owner in distributions.get(name, []))} for name in third}
    assert not {name for name in third if not declared & owners[name]}


def test_a_server_installs_the_packages_that_prediction_imports() -> None:
    """Except onnx, which only converts weights before, and bitsandbytes, which is for 4 bits."""
    code = "import vilam.inference.predictor, vilam.inference.serving, sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    files = [path for path in FILES if named(path).removesuffix(".__init__") in loaded]
    used = {module.partition(".")[0] for path in files for module in imports(path)} - set(sys.stdlib_module_names)
    distributions = packages_distributions()
    missing = {
        name
        for name in used - {"vilam", "onnx", "bitsandbytes"}
        if not set(NEEDED) & {o.lower() for o in distributions[name]}
    }
    assert len(files) > 30 and not missing
