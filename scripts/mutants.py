"""Mutants: changes one operator, number, call or condition at a time and lists the changes that no test notices.

    python scripts/mutants.py              60 mutants of the modules in TARGETS, half an hour on two cores
    python scripts/mutants.py --count 20 --seed 1 --only gate

It runs outside CI, in a copy of the tracked files. Packages for this (mutmut, cosmic-ray) change modules on import or
keep a database of sessions. With one test folder per module, a script of this size is enough.
"""

from __future__ import annotations

import argparse
import ast
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import get_ident

PROJECT = Path(__file__).parents[1]
TARGETS = {
    "vilam/cycle/*.py": ["tests/cycle", "tests/training/test_batching.py"],
    "vilam/models/losses.py": ["tests/models/test_losses.py", "tests/training/test_batching.py"],
    "vilam/inference/constraints.py": ["tests/inference/test_constraints.py", "tests/inference/test_generate.py"],
    "vilam/evaluation/estimates.py": ["tests/evaluation"],
    "vilam/evaluation/*metrics.py": ["tests/evaluation"],
    "vilam/evaluation/average_precision.py": ["tests/evaluation"],
    "vilam/tracking/gate.py": ["tests/tracking/test_gate.py"],
    "vilam/training/checkpoint.py": ["tests/training/test_checkpoint.py"],
    "vilam/training/validation.py": ["tests/training/test_validation.py"],
    "vilam/files.py": ["tests/test_files.py"],
}
"""The modules that are changed, and the tests that should notice."""
EXPLAINED = {
    "vilam/cycle/cycle.py: 32  ->  33": "images for which examples are made at once: no example depends on it",
    "vilam/cycle/cycle.py: 6  ->  7": "the number of a random stream: another one is as good",
}
"""Mutants that no test can notice, without the line, and why."""
COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
}
OPERATORS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Add,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
}
LIMIT = 600
"""Seconds that the tests of a mutant may take; a mutant that takes longer counts as noticed."""


@dataclass(frozen=True)
class Mutant:
    """A module with one change: its path in the project, its new text, and the change at a line, in one line."""

    path: Path
    text: str
    line: int
    change: str
    tests: list[str]

    def __str__(self) -> str:
        """Where it is and what it changes."""
        return f"{self.path}:{self.line}: {self.change}"

    @property
    def explained(self) -> str | None:
        """Why no test can notice it, if that is known."""
        return EXPLAINED.get(f"{self.path}: {self.change}")


def mutants(path: Path, tests: list[str]) -> Iterator[Mutant]:
    """All mutants of a module."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    decorators = [each for node in ast.walk(tree) for each in getattr(node, "decorator_list", ())]
    skipped = {id(node) for decorator in decorators for node in ast.walk(decorator)}
    for index, node in enumerate(ast.walk(tree)):
        if id(node) in skipped:
            continue
        copied = deepcopy(tree)
        other = next(each for number, each in enumerate(ast.walk(copied)) if number == index)
        if changed(other):
            line = getattr(node, "lineno", 0)
            before, after = ast.unparse(node), ast.unparse(other)
            relative = path.relative_to(PROJECT)
            change = " ".join(f"{before}  ->  {after}"[:160].splitlines())
            yield Mutant(relative, ast.unparse(copied), line, change, tests)


def changed(node: ast.AST) -> bool:
    """Changes a node in place; False if there is nothing to change in it."""
    match node:
        case ast.Compare(ops=[operator]) if type(operator) in COMPARISONS:
            node.ops = [COMPARISONS[type(operator)]()]
        case ast.BinOp(op=operator) | ast.AugAssign(op=operator) if type(operator) in OPERATORS:
            node.op = OPERATORS[type(operator)]()
        case ast.BoolOp(op=ast.And()):
            node.op = ast.Or()
        case ast.BoolOp(op=ast.Or()):
            node.op = ast.And()
        case ast.UnaryOp(op=ast.Not()):
            node.op = ast.UAdd() if isinstance(node.operand, ast.Constant) else ast.Not()
            node.operand = ast.UnaryOp(ast.Not(), node.operand)
        case ast.IfExp() | ast.If():
            node.test = ast.UnaryOp(ast.Not(), node.test)
        case ast.Constant(value=bool()):
            node.value = not node.value
        case ast.Constant(value=int() | float() as number):
            node.value = number + 1
        case ast.Expr(value=ast.Call()):
            node.value = ast.Constant(None)
        case _:
            return False
    return True


def copy_project(folder: Path) -> Path:
    """The tracked files, in a folder of their own."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=PROJECT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, listed.split("\0")):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(PROJECT / name, folder / name)
    return folder


def is_noticed(mutant: Mutant, folder: Path) -> bool:
    """Whether a test fails with the mutant; the copy of the project is restored."""
    path = folder / mutant.path
    original = path.read_bytes()
    path.write_text(mutant.text, encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *mutant.tests]
    environment = {**os.environ, "PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        return subprocess.run(command, cwd=folder, env=environment, capture_output=True, timeout=LIMIT).returncode != 0
    except subprocess.TimeoutExpired:
        return True
    finally:
        path.write_bytes(original)


def main() -> int:
    """Runs a sample of the mutants; returns 1 if one survives."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=60, help="mutants, divided evenly among the modules")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="modules whose path holds this text")
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    rng = random.Random(options.seed)
    modules = {
        path: tests for pattern, tests in TARGETS.items() for path in PROJECT.glob(pattern) if options.only in str(path)
    }
    every = [[*mutants(path, tests)] for path, tests in sorted(modules.items()) if path.name != "__init__.py"]
    for of_module in every:
        rng.shuffle(of_module)
    rounds = [of_module[index] for index in range(options.count) for of_module in every if index < len(of_module)]
    with TemporaryDirectory() as temporary, ThreadPoolExecutor(options.jobs) as pool:
        copies: dict[int, Path] = {}

        def run(mutant: Mutant) -> bool:
            own = get_ident()
            if own not in copies:
                copies[own] = copy_project(Path(temporary) / str(own))
            noticed = is_noticed(mutant, copies[own])
            result = "noticed" if noticed else f"explained ({mutant.explained})" if mutant.explained else "SURVIVED"
            print(result, mutant, flush=True)
            return noticed or mutant.explained is not None

        results = [*pool.map(run, rounds[: options.count])]
    print(f"{len(results)} mutants, {results.count(False)} survived")
    return int(not all(results))


if __name__ == "__main__":
    sys.exit(main())
