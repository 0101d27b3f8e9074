"""``vilam ablate FILE``: runs what is not finished yet, then shows how the arms compare."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from vilam.ablation.plan import BASELINE, Plan, read_plan
from vilam.ablation.results import compare, comparisons_table, finished, results_table
from vilam.ablation.runner import Launch, Launcher, Runner
from vilam.ablation.steps import Laboratory, Run
from vilam.ablation.tables import markdown
from vilam.errors import VilamError
from vilam.files import write_atomically


@dataclass(frozen=True)
class Part:
    """What of a plan is run: some arms beside the baseline, at some shares; empty: all of them."""

    arms: Sequence[str] = ()
    shares: Sequence[float] = ()

    def check(self, plan: Plan) -> None:
        """Raises VilamError for an arm or a share that the plan has not."""
        for option, some, known in (("--arm", self.arms, list(plan.arms)), ("--share", self.shares, plan.shares)):
            for unknown in (each for each in some if each not in known):
                raise VilamError(f"ablate: {option} {unknown}: choose of {', '.join(map(str, known))}")

    def of(self, runs: Iterable[Run]) -> list[Run]:
        """Those of the runs that are in it; the baseline is, and once more for each of its arms that is timed."""
        arms = [BASELINE, *self.arms]
        return [
            run
            for run in runs
            if (not self.arms or (run.matches or run.arm) in arms) and (not self.shares or run.share in self.shares)
        ]


def ablate(
    file: Path, root: Path, *, run: bool, docs: Path | None, part: Part | None = None, launch: Launch | None = None
) -> None:
    """Run the ablation of ``file`` in a project folder, write its results and print its tables.

    run: whether to run what is not finished, or only to show what is. docs: a folder that gets the tables as
    ``ablation-NAME.md`` and the picture as ``images/ablation-NAME.png``. part: what of it is run; shown is all that is
    finished. launch: how a stage is started.
    Raises VilamError where the file or a setting is wrong, before anything is run, and where a run failed, at the end.
    """
    plan, base = read_plan(file, root / "params.yaml")
    part = part or Part()
    part.check(plan)
    laboratory = Laboratory(plan, base, root)
    failures: list[str] = []
    if run:
        start = launch or Launcher(root, plan.threads, _origin(root))
        runner = Runner(plan.jobs, start, root / "configs", _tell)
        wanted = part.of(laboratory.runs())
        is_timed = any(each.arm in plan.time_arms and each.share in plan.time_shares for each in wanted)
        timed = [laboratory.start()] if is_timed else []
        runner.run([*(step for each in wanted for step in each.steps), *timed])
        matched = part.of(laboratory.matched_runs())  # needs the times of those before
        runner.run(step for each in matched for step in each.steps)
        failures = runner.failures
    print(show([*laboratory.runs(), *laboratory.matched_runs()], laboratory.folder, plan.name, docs), end="")
    if failures:
        raise VilamError(f"ablate: {len(failures)} failed and what needs them was left out: {failures[0]}")


def show(runs: Sequence[Run], folder: Path, name: str, docs: Path | None) -> str:
    """Write results.csv, comparisons.csv, tables.md and plot.png of the finished runs; returns the tables."""
    results = list(finished(runs))
    comparisons = compare(results)
    text = markdown(results, comparisons)
    if not results:
        return text
    write_atomically(folder / "results.csv", results_table(results).to_csv(index=False))
    write_atomically(folder / "comparisons.csv", comparisons_table(comparisons).to_csv(index=False))
    from vilam.ablation.picture import draw

    write_atomically(folder / "tables.md", text)
    draw(results, comparisons, folder / "plot.png")
    if docs is not None:
        write_atomically(docs / f"ablation-{name}.md", text)
        write_atomically(docs / "images" / f"ablation-{name}.png", (folder / "plot.png").read_bytes())
    return text


def _origin(root: Path) -> dict[str, str]:
    """Make MLflow's database ready, which two runs at once could not, and tell the commit that all runs are of."""
    from vilam.tracking.connection import make_ready
    from vilam.tracking.runs import git_commit

    make_ready(root)
    return {"git_commit": git_commit(root)}


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
