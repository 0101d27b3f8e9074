"""``vilam ablate FILE``: runs what is not finished yet, then shows how the arms compare."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from vilam.ablation.jobs import Ablation, Run
from vilam.ablation.plan import BASELINE, Plan, read_plan
from vilam.ablation.results import compare, comparisons_table, finished, results_table
from vilam.ablation.runner import Launch, Launcher, Runner
from vilam.ablation.tables import markdown
from vilam.errors import VilamError
from vilam.files import write_atomically


@dataclass(frozen=True)
class Part:
    """The part of a plan that is run: some arms beside the baseline, at some fractions; empty: all of them."""

    arms: Sequence[str] = ()
    fractions: Sequence[float] = ()

    def check(self, plan: Plan) -> None:
        """Raises VilamError for an arm or a fraction that the plan does not have."""
        for option, some, known in (
            ("--arm", self.arms, list(plan.arms)),
            ("--fraction", self.fractions, plan.fractions),
        ):
            for unknown in (each for each in some if each not in known):
                raise VilamError(f"ablate: {option} {unknown}: choose one of {', '.join(map(str, known))}")

    def of(self, runs: Iterable[Run]) -> list[Run]:
        """The runs that are in it. The baseline is, also each time that it is matched with one of the arms."""
        arms = [BASELINE, *self.arms]
        return [
            run
            for run in runs
            if (not self.arms or (run.matches or run.arm) in arms)
            and (not self.fractions or run.fraction in self.fractions)
        ]


def ablate(
    file: Path, root: Path, *, run: bool, docs: Path | None, part: Part | None = None, launch: Launch | None = None
) -> None:
    """Run the ablation of ``file`` in a project folder, write its results and print its tables.

    run: whether to run what is not finished; if not, only show the results. docs: a folder that gets the tables as
    ``ablation-NAME.md`` and the plot as ``images/ablation-NAME.png``. part: the part that is run; all finished runs are
    shown. launch: how a stage is started.
    Raises VilamError before anything is run if the file or a setting is wrong, and at the end if a run failed.
    """
    plan, base = read_plan(file, root / "params.yaml")
    part = part or Part()
    part.check(plan)
    ablation = Ablation(plan, base, root)
    failures: list[str] = []
    if run:
        start = launch or Launcher(root, plan.threads, _origin(root))
        runner = Runner(plan.jobs, start, root / "configs", _report)
        wanted = part.of(ablation.runs())
        is_timed = any(each.arm in plan.time_arms and each.fraction in plan.time_fractions for each in wanted)
        timed = [ablation.start()] if is_timed else []
        runner.run([*(job for each in wanted for job in each.jobs), *timed])
        matched = part.of(ablation.matched_runs())  # needs the times of those before
        runner.run(job for each in matched for job in each.jobs)
        failures = runner.failures
    print(show([*ablation.runs(), *ablation.matched_runs()], ablation.folder, plan.name, docs), end="")
    if failures:
        raise VilamError(f"ablate: {len(failures)} failed, and what needs them was left out: {failures[0]}")


def show(runs: Sequence[Run], folder: Path, name: str, docs: Path | None) -> str:
    """Write results.csv, comparisons.csv, tables.md and plot.png of the finished runs; returns the tables."""
    results = list(finished(runs))
    comparisons = compare(results)
    text = markdown(results, comparisons)
    if not results:
        return text
    write_atomically(folder / "results.csv", results_table(results).to_csv(index=False))
    write_atomically(folder / "comparisons.csv", comparisons_table(comparisons).to_csv(index=False))
    from vilam.ablation.plot import plot

    write_atomically(folder / "tables.md", text)
    plot(results, comparisons, folder / "plot.png")
    if docs is not None:
        write_atomically(docs / f"ablation-{name}.md", text)
        write_atomically(docs / "images" / f"ablation-{name}.png", (folder / "plot.png").read_bytes())
    return text


def _origin(root: Path) -> dict[str, str]:
    """Make MLflow's database ready, which two runs at once could not, and return the commit of all runs."""
    from vilam.tracking.connection import make_ready
    from vilam.tracking.runs import git_commit

    make_ready(root)
    return {"git_commit": git_commit(root)}


def _report(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
