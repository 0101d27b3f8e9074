"""The one-way arrows, read from the imports: flows -> cli -> stages -> libraries -> data -> geometry."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from itertools import chain
from pathlib import Path

import pytest

from vilam.serving import NEEDED

PROJECT = Path(__file__).parents[1]
FILES = sorted([*(PROJECT / "vilam").rglob("*.py"), *(PROJECT / "flows").rglob("*.py")])
SHARED = {"vilam", "vilam.errors", "vilam.config", "vilam.overrides", "vilam.files", "vilam.progress"}
LOW = {"vilam.geometry"}
MIDDLE = {"vilam.tasks", "vilam.models", "vilam.data"}
HIGH = {"vilam.training", "vilam.inference", "vilam.evaluation", "vilam.tracking", "vilam.registry", "vilam.serving"}
HIGH |= {"vilam.summary", "vilam.visual", "vilam.launch", "vilam.presets", "vilam.datasets", "vilam.compare"}
ALLOWED = {
    "vilam.geometry": set(),
    "vilam.data": LOW,
    "vilam.tasks": LOW | {"vilam.data"},
    "vilam.models": LOW | {"vilam.data", "vilam.tasks"},
    **dict.fromkeys(HIGH, LOW | MIDDLE | HIGH),
    "vilam.stages": LOW | MIDDLE | HIGH,
    # the runs of an ablation are stages in processes of their own: it imports none, only what reads their results
    "vilam.ablation": HIGH,
    "vilam.cli": LOW | MIDDLE | HIGH | {"vilam.stages", "vilam.ablation"},
    "vilam.__main__": {"vilam.cli"},
    "flows": {"vilam.cli"},
}
"""What each part may import of the others, besides SHARED and itself."""
HEAVY = {"torch", "transformers", "deepspeed", "mlflow", "prefect", "pandas", "numpy", "pyarrow", "matplotlib"}


def imports(path: Path) -> Iterator[str]:
    """Every module that a file imports anywhere in it, as a dotted name."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0 and node.module, f"{path}: relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def part(module: str) -> str:
    """The part of the project that a module belongs to: ``vilam.tasks.rec_box`` is of ``vilam.tasks``."""
    if not module.startswith("vilam."):
        return module.partition(".")[0]
    name = ".".join(module.split(".")[:2])
    return name if name in ALLOWED or name in SHARED else "vilam"


def named(path: Path) -> str:
    return ".".join(path.relative_to(PROJECT).with_suffix("").parts).removesuffix(".__init__")


@pytest.mark.parametrize("path", FILES, ids=named)
def test_arrows_run_one_way(path: Path) -> None:
    here = part(named(path))
    ours = {part(module) for module in imports(path) if part(module).partition(".")[0] in ("vilam", "flows")}
    assert not ours - SHARED - ALLOWED.get(here, set()) - {here}


@pytest.mark.parametrize(
    ("package", "only"), [("prefect", r"flows/.*"), ("mlflow", r"vilam/tracking\.py"), ("dvc", r"(?!)")]
)
def test_a_tool_is_known_in_one_place(package: str, only: str) -> None:
    users = {str(path.relative_to(PROJECT)) for path in FILES if package in {m.split(".")[0] for m in imports(path)}}
    assert all(re.fullmatch(only, user) for user in users), users


@pytest.mark.parametrize("module", ["vilam.cli", "vilam.config", "vilam.progress", "vilam.errors"])
def test_the_command_line_starts_light(module: str) -> None:
    code = f"import {module}, sys; print(' '.join({{name.partition('.')[0] for name in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert not HEAVY & set(done.stdout.split())


def test_what_is_imported_is_declared() -> None:
    content = tomllib.loads((PROJECT / "pyproject.toml").read_text())
    project = content["project"]
    lines = [*project["dependencies"], *chain(*project["optional-dependencies"].values())]
    declared = {re.split(r"[=<>]", line)[0].lower() for line in lines}
    distributions = packages_distributions()
    used = {module.partition(".")[0] for path in FILES for module in imports(path)}
    third = used - set(sys.stdlib_module_names) - {"vilam", "flows"}
    owners = {name: {name, *(owner.lower() for owner in distributions.get(name, []))} for name in third}
    assert not {name for name in third if not declared & owners[name]}


def test_a_server_installs_what_prediction_imports() -> None:
    """But for what only converts weights (onnx), which are converted by then, and what holds them in 4 bits."""
    code = "import vilam.inference.predictor, vilam.serving, sys; print(*sys.modules)"
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
