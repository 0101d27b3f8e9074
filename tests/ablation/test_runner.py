"""Runs of an ablation with a shell in place of the stages: order, sharing, resuming, failures, what they took."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from vilam.ablation.jobs import Ablation, Job
from vilam.ablation.plan import read_plan
from vilam.ablation.runner import Launcher, Runner
from vilam.config import read_yaml

LOOP = {"none": {"train.cycle.mode": "none"}, "loop": {"train.cycle.mode": "none", "teacher": "none"}}


def ablation(path: Path) -> Ablation:
    plan, base = read_plan(path, path.with_name("params.yaml"))
    return Ablation(plan, base, path.parent)


def jobs(path: Path) -> list[Job]:
    return [job for run in ablation(path).runs() for job in run.jobs]


def run(path: Path, launch, parallel: int = 1) -> tuple[Runner, list[str]]:
    reported: list[str] = []
    runner = Runner(parallel, launch, path.parent / "configs", reported.append)
    runner.run(jobs(path))
    return runner, reported


def test_what_arms_share_is_made_once(write: Callable[..., Path], fake) -> None:
    path = write()
    run(path, fake)
    assert [job.stage for job in fake.started].count("prepare") == 1  # data are the same for all seeds
    assert [job.stage for job in fake.started].count("synthesize") == 2  # one for each seed
    assert [job.stage for job in fake.started].count("activate") == 2
    assert sorted(name for name in fake.names if "train" in name) == [
        "0.5 none 0: train", "0.5 none 1: train", "0.5 pseudo 0: train", "0.5 pseudo 1: train"
    ]  # fmt: skip


def test_each_seed_samples_its_own_shots(write: Callable[..., Path], fake) -> None:
    run(write(settings={"prepare.shots": 5}), fake)
    made = [job for job in fake.started if job.stage == "prepare"]
    assert [job.params["seed"] for job in made] == [0, 1]


def test_an_arm_is_run_at_its_fractions_and_matched_at_the_time_fractions(write: Callable[..., Path], fake) -> None:
    arms = {**LOOP, "pseudo": {"train.cycle.mode": "pseudo"}}
    arms["loop"] = {**arms["loop"], "fractions": [0.2]}
    path = write(arms=arms, seeds=[0], fractions=[0.2, 1.0], time_arms=["loop", "pseudo"], time_fractions=[0.2, 1.0])
    run(path, fake)
    assert [name for name in fake.names if "evaluate" in name] == [
        "0.2 none 0: evaluate", "0.2 loop 0: evaluate", "0.2 pseudo 0: evaluate",
        "1 none 0: evaluate", "1 pseudo 0: evaluate",
    ]  # fmt: skip
    matched = [(run.fraction, run.arm) for run in ablation(path).matched_runs()]
    assert matched == [(0.2, "none@loop"), (0.2, "none@pseudo"), (1.0, "none@pseudo")]
    fewer = write(arms=arms, seeds=[0], fractions=[0.2, 1.0], time_arms=["loop", "pseudo"], time_fractions=[1.0])
    assert [(run.fraction, run.arm) for run in ablation(fewer).matched_runs()] == [(1.0, "none@pseudo")]


def test_an_arm_that_changes_activate_has_its_own(write: Callable[..., Path], fake) -> None:
    arms = {"none": {}, "long": {"activate.steps": 90}, "words": {"synthesize.expressions_per_region": 1}}
    run(write(arms=arms, seeds=[0]), fake)
    stages = [job.stage for job in fake.started]
    assert (stages.count("prepare"), stages.count("synthesize"), stages.count("activate")) == (1, 2, 3)


def test_a_job_finds_what_it_needs_through_links(write: Callable[..., Path], fake) -> None:
    run(write(seeds=[0], arms={"none": {"train.steps": 70}}), fake)
    prepare, synthesize, activate, train, evaluate = fake.started
    assert (train.folder / "data" / "records").resolve() == prepare.folder / "data" / "records"
    assert (train.folder / "data" / "instructions").resolve() == synthesize.folder / "data" / "instructions"
    assert (train.folder / "models" / "activate").resolve() == activate.folder / "models" / "activate"
    assert (train.folder / "configs").is_dir() and evaluate.folder == train.folder
    params = read_yaml(train.folder / "params.yaml")
    assert (params["train"]["steps"], params["synthesize"]["described_fraction"]) == (70, 0.5)


def test_the_loop_trains_on_its_teachers_expressions_and_is_evaluated_on_the_same(
    write: Callable[..., Path], fake
) -> None:
    path = write(seeds=[0], arms=LOOP)
    run(path, fake, parallel=3)
    none, loop = ablation(path).runs()
    assert loop.describe is not None
    teacher = read_yaml(loop.describe.folder / "params.yaml")["synthesize"]["teacher"]
    assert Path(teacher) == none.train.folder / "models" / "train"
    assert fake.names.index("0.5 none 0: train") < fake.started.index(
        next(job for job in fake.started if job.folder == loop.describe.folder)
    )
    assert loop.train.links["data/instructions"] == loop.describe.folder / "data" / "instructions"
    assert loop.evaluate.links == none.evaluate.links
    assert loop.train.links["models/activate"] == none.train.links["models/activate"]
    assert (times := loop.times()) is not None and (cost := none.cost()) is not None
    assert times["teacher"] == cost and times["describe"] > 0


def test_the_synthesize_settings_of_an_arm_are_for_its_teacher_alone(write: Callable[..., Path]) -> None:
    own = {"train.cycle.mode": "none", "teacher": "none", "synthesize.expressions_per_region": 1}
    none, loop = ablation(write(seeds=[0], arms={"none": {"train.cycle.mode": "none"}, "loop": own})).runs()
    assert loop.describe is not None and loop.describe.params["synthesize"]["expressions_per_region"] == 1
    assert loop.train.links["models/activate"] == none.train.links["models/activate"]
    assert loop.evaluate.links == none.evaluate.links


def test_finished_jobs_are_not_run_again(write: Callable[..., Path], fake) -> None:
    path = write()
    run(path, fake)
    fake.started.clear()
    run(path, fake)
    assert fake.started == []
    run(write(settings={"train.steps": 100, "evaluate.include_activate": False, "evaluate.max_images": 7}), fake)
    assert {job.stage for job in fake.started} == {"evaluate"}


def test_a_run_of_other_settings_is_kept(write: Callable[..., Path], fake) -> None:
    path = write(seeds=[0])
    run(path, fake)
    (folder,) = path.parent.glob("ablations/toy/*/none-0")
    (folder / "mark").touch()
    run(write(seeds=[0], settings={"train.steps": 101, "evaluate.include_activate": False}), fake)
    assert not (folder / "mark").exists() and len(list(path.parent.glob("ablations/toy/old/0.5-none-0-*/mark"))) == 1


def test_settings_of_a_cycle_that_is_off_change_nothing(write: Callable[..., Path], fake) -> None:
    run(write(seeds=[0]), fake)
    fake.started.clear()
    run(
        write(seeds=[0], settings={"train.steps": 100, "evaluate.include_activate": False, "train.cycle.samples": 3}),
        fake,
    )
    assert fake.names == ["0.5 pseudo 0: train", "0.5 pseudo 0: evaluate"]


def test_a_failure_is_one_line_and_the_others_continue(write: Callable[..., Path], fake) -> None:
    path = write(arms=LOOP | {"pseudo": {"train.cycle.mode": "pseudo"}}, seeds=[0])
    fake.failing = "none 0: train"
    runner, reported = run(path, fake)
    (failure,) = runner.failures
    assert failure.startswith("0.5 none 0: train failed: vilam: out of luck (all of it: ") and failure in reported
    assert "0.5 pseudo 0: evaluate" in fake.names
    assert not [name for name in fake.names if "loop" in name or name == "0.5 none 0: evaluate"]
    fake.failing = ""
    fake.started.clear()
    assert run(path, fake)[0].failures == []
    assert fake.names[0] == "0.5 none 0: train" and "0.5 loop 0: evaluate" in fake.names and len(fake.started) == 5


def test_no_more_than_jobs_run_at_a_time(write: Callable[..., Path], fake, tmp_path: Path) -> None:
    """Every stage counts the marks of those that run beside it."""
    marks = tmp_path / "marks"
    marks.mkdir()
    fake.script = f"touch {marks}/$$; ls {marks} | wc -l >> {tmp_path}/seen; sleep 0.05; rm {marks}/$$"
    run(write(seeds=[0, 1, 2]), fake, parallel=2)
    assert max(map(int, (tmp_path / "seen").read_text().split())) == 2


def test_processor_time_is_that_of_the_stage_and_all_it_started(write: Callable[..., Path], fake) -> None:
    """Against what the system counts for all children of this process."""
    fake.script = "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done & wait"
    path = write(seeds=[0], arms={"none": {}})
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    run(path, fake)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    counted = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    spent = [each.processor_seconds for job in dict.fromkeys(fake.started) if (each := job.spent())]
    assert len(spent) == 5 and sum(spent) == pytest.approx(counted, abs=0.02) and min(spent) > 0


@pytest.mark.parametrize("end", [KeyboardInterrupt, SystemExit])
def test_running_jobs_end_with_the_command(end: type, write: Callable[..., Path], fake) -> None:
    """By ctrl-C or by a `kill` of the command alone."""
    fake.script = "sleep 60"
    children = []

    def launch(job: Job):
        if children:
            os.kill(os.getpid(), signal.SIGINT if end is KeyboardInterrupt else signal.SIGTERM)
        children.append(fake(job))
        return children[0]

    path = write(seeds=[0], arms={"none": {}, "other": {"synthesize.expressions_per_region": 1}})
    done = next(job for job in jobs(path) if job.stage == "prepare")
    Runner(1, lambda job: subprocess.Popen(["true"]), path.parent / "configs", print).run([done])
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a job of the background is started without it
    try:
        with pytest.raises(end):
            run(path, launch, parallel=2)
    finally:
        signal.signal(signal.SIGINT, before)
    with pytest.raises(ProcessLookupError):
        os.kill(children[0].pid, 0)


def test_a_stage_is_the_projects_own_command(write: Callable[..., Path], tmp_path: Path, monkeypatch) -> None:
    """Settings, folder, threads, and the name and tags of its run in MLflow."""
    monkeypatch.delenv("VILAM_MLRUNS", raising=False)
    job = next(each for each in jobs(write(seeds=[4])) if each.stage == "train")
    environment = Launcher(tmp_path, 3, {"git_commit": "abc"}).environment(job)
    assert environment["OMP_NUM_THREADS"] == "3" and environment["VILAM_MLRUNS"] == str(tmp_path / "mlruns")
    assert environment["VILAM_RUN_NAME"] == "toy 0.5 none 4"
    assert json.loads(environment["VILAM_RUN_TAGS"]) == {
        "git_commit": "abc", "ablation": "toy", "arm": "none", "fraction": "0.5", "seed": "4"
    }  # fmt: skip
    code = "import vilam; print(vilam.__file__)"
    shown = subprocess.run([sys.executable, "-c", code], cwd="/", env=environment, capture_output=True, text=True)
    assert Path(shown.stdout.strip()).is_file()


def test_a_stage_that_cannot_start_says_why(write: Callable[..., Path], tmp_path: Path) -> None:
    """A real one: no records can be made of a source that is not there."""
    path = write(seeds=[0], arms={"none": {}}, settings={"prepare.source": "voc", "prepare.root": "nowhere"})
    runner, _ = run(path, Launcher(tmp_path, 1, {}))
    assert "prepare failed: vilam: " in runner.failures[0] and "nowhere: no such folder" in runner.failures[0]
