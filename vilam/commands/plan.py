"""``vilam plan``: parameters, memory and computation of a run, as a table or as JSON."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table

from vilam.commands.text import as_text
from vilam.config import PHASES, Settings, check_settings, parse_yaml, read_yaml
from vilam.errors import VilamError
from vilam.overrides import override

if TYPE_CHECKING:
    from vilam.planning.plan import Plan

GIB = 1 << 30
MEMORY = {
    "weights": "weights",
    "optimiser": "optimiser state",
    "copies": "ZeRO's copies of the weights that it updates",
    "teacher": "the cycle's teacher or reference",
    "inputs": "pictures and tokens",
    "saved": "saved for the backward pass",
    "logits": "  of that: logits of the answers",
    "gradients": "gradients, all",
    "backward": "peak of the forward and backward pass",
    "step": "peak of averaging and the optimiser",
    "peak": "peak of the process",
}


def plan(params: Path, given: Sequence[str], phase: str, picture: str, speed: float | None, as_json: bool) -> None:
    """Print the plan of params.yaml with ``given`` settings (NAME=VALUE) in their place.

    picture: WIDTHxHEIGHT without prepared data. speed: floating-point operations a second, for the time of a step.
    """
    if phase not in PHASES:
        raise VilamError(f"--phase {phase}: expected {' or '.join(PHASES)}")
    size = parse_size(picture)
    settings = with_settings(params, given)
    with quiet(), redirect_stdout(sys.stderr):  # libraries print while they are imported, and JSON stands alone
        from vilam.planning.plan import make_plan

        found = make_plan(settings, Path.cwd(), phase, size)
    seconds = None if speed is None else found.flops / speed
    if as_json:
        print(json.dumps({**asdict(found), "peak": found.peak, "seconds": seconds}, indent=2))
    else:
        show(found, seconds)


@contextmanager
def quiet() -> Iterator[None]:
    """vilam's warnings are of a model that runs, which a plan is not."""
    logger = logging.getLogger("vilam")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def with_settings(params: Path, given: Sequence[str]) -> Settings:
    """The settings of a file with others in their place; raises VilamError for a mistake."""
    content = read_yaml(params)
    changes: dict[str, Any] = {}
    for one in given:
        name, equals, value = one.partition("=")
        if not equals:
            raise VilamError(f"--set {one}: expected NAME=VALUE, such as train.batch_size=4")
        changes[name] = parse_yaml(value, f"--set {name}")
    override(content, changes, "--set")
    return check_settings(content, params if not given else f"{params} with --set")


def parse_size(text: str) -> tuple[int, int]:
    """WIDTHxHEIGHT as two numbers; raises VilamError if it is none."""
    width, _, height = text.partition("x")
    if not (width.isdecimal() and height.isdecimal() and int(width) and int(height)):
        raise VilamError(f"--picture {text}: expected WIDTHxHEIGHT in pixels, such as 640x480")
    return int(width), int(height)


def show(found: Plan, seconds: float | None) -> None:
    """Print a plan: what is planned, then memory in GiB."""
    print(f"{found.phase}: the largest of the first steps; {found.data}")
    print(f"{found.processes} processes, ZeRO {found.zero_stage}, matrices in {found.precision}; of one process:")
    share = found.trained / found.parameters
    print(f"  {found.parameters:,} parameters, {found.trained:,} of them trained ({share:.1%})")
    print(
        f"  {found.pictures} pictures of {found.picture_tokens:,} tokens, {found.instructions} instructions, ", end=""
    )
    print(f"{found.tokens:,} tokens with padding")
    print(f"  {found.flops:.3e} floating-point operations in a step", end="")
    print("" if seconds is None else f": {seconds:.3g} s at the given speed (computed, not measured)")
    print(as_text(table(found)))


def table(found: Plan) -> Table:
    """The memory of a process."""
    made = Table("memory of a process", "GiB", box=None, show_edge=False)
    made.columns[1].justify = "right"
    sizes: Mapping[str, int] = {**asdict(found), "peak": found.peak}
    for name, title in MEMORY.items():
        if sizes[name]:
            made.add_row(title, f"{sizes[name] / GIB:,.3f}")
    return made
