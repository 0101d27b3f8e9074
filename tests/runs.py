"""Real runs of the stages in toy projects: ``python tests/runs.py FOLDER``, once for all tests (see `projects`).

One process imports torch, DeepSpeed and MLflow, which takes most of the time. It forks a child for every run, which
does the same as ``python -m vilam STAGE``. Children are killed with SIGKILL if a test needs that.

FOLDER holds these projects: ``whole`` and ``killed`` with the same settings; ``zero0``, ``zero2``, ``zero3`` with data
and other settings, for both phases of training; ``taught1``, ``taught2`` with data and a teacher; ``shared1``,
``shared2`` with the settings of an evaluation; ``pretrained`` with data and pretrained parts; ``compared`` with the
plan of an ablation; ``hf-NAME`` with data for each checkpoint of hf_checkpoints.py, which is written here; and two
``tuned-NAME`` with data and a model to fine-tune; ``sharded``, where training/sharded.py writes. The output of each
run is in ``PROJECT/log-N.txt``.
"""

from __future__ import annotations

import importlib
import os
import shutil
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import torch
from training import sharded

from vilam.cli import STAGES
from vilam.data.records import DatasetCard
from vilam.models.interface import GroundingModel, Tokens

LIMIT = 120.0
"""Seconds that a run may take."""
LATER = (
    "deepspeed.runtime.zero.muon.muon_optimizer",
    "git",
    "mlflow.store.tracking.sqlalchemy_store",
    "mlflow.system_metrics.system_metrics_monitor",
    "opentelemetry.sdk.metrics",
    "peft",
    "setuptools",
    "sqlalchemy.dialects.sqlite",
)
"""Modules that every run would import, for seconds."""
SPREAD = "hf-llava"
"""The project of a Hugging Face VLM that two processes train."""
TEACHING = "hf-paligemma"
"""The project whose model is then a teacher."""


def start(root: Path, stage: str | Callable[[], None], number: int, **environment: str) -> int:
    """Fork a child that runs a stage, or other work, in a project folder; returns its process id."""
    if child := os.fork():
        return child
    status = 1
    try:
        os.chdir(root)
        os.environ.update(environment)
        log = os.open(root / f"log-{number}.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(log, 1)
        os.dup2(log, 2)
        if callable(stage):
            stage()
        else:
            run_stage(stage)
        status = 0
    except SystemExit as error:
        status = error.code if isinstance(error.code, int) else 0 if error.code is None else 1
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def run_stage(stage: str) -> None:
    """What ``python -m vilam STAGE`` does."""
    sys.argv = ["vilam", stage]
    from vilam.cli import main

    main()


def finish(*children: int) -> None:
    """Wait until all are done; end them and raise if one fails or takes too long."""
    waiting, end = set(children), time.monotonic() + LIMIT
    while waiting:
        done, status = os.waitpid(-1, os.WNOHANG)
        waiting.discard(done)
        if (done and status) or time.monotonic() > end:
            for child in waiting:
                os.kill(child, signal.SIGKILL)
            raise SystemExit(f"a run ended with {status}")
        time.sleep(0.01)


def kill_when(child: int, ready: Callable[[], bool]) -> None:
    """Kill the child when ``ready()``; raises if it ends before that."""
    end = time.monotonic() + LIMIT
    while not ready():
        if os.waitpid(child, os.WNOHANG)[0] or time.monotonic() > end:
            raise SystemExit("the run ended before it could be killed")
        time.sleep(0.001)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


def train_and_kill(folder: Path) -> None:
    """``whole`` runs all stages; ``killed`` starts from its phase 1, and its training is killed twice.

    First it runs in a copy, as DVC runs an experiment; the copy is then removed.
    """
    whole, killed = folder / "whole", folder / "killed"
    for number, stage in enumerate(STAGES):
        finish(start(whole, stage, number))
    shutil.copytree(whole / "data", killed / "data")
    shutil.copytree(whole / "models" / "activate", killed / "models" / "activate")
    copy = killed / ".dvc" / "tmp" / "exps" / "tmp1"
    for part in ("data", "models"):
        shutil.copytree(killed / part, copy / part)
    for part in ("params.yaml", "configs"):
        (copy / part).symlink_to(killed / part)
    # Once after the first checkpoint, once while a later one is written.
    kill_when(start(copy, "train", 1), lambda: any(killed.glob("checkpoints/train/*/step-000002/manifest.json")))
    shutil.rmtree(copy)
    kill_when(start(killed, "train", 2), lambda: any(killed.glob("checkpoints/train/*/step-000006")))
    left = sorted(str(path.relative_to(killed)) for path in killed.glob("checkpoints/train/*/step-*/*"))
    (killed / "left.txt").write_text("\n".join(left))
    (killed / "models-then.txt").write_text("\n".join(path.name for path in (killed / "models").iterdir()))
    finish(start(killed, "train", 3))


def teach(folder: Path) -> None:
    """One process and two generate expressions with the champion of ``whole``; ``taught1`` is then trained on them."""
    use_few_words()
    whole = folder / "whole"
    for processes in (1, 2):
        spread(folder / f"taught{processes}", "synthesize", processes, VILAM_MLRUNS=str(whole / "mlruns"))
    shutil.copytree(whole / "models" / "activate", folder / "taught1" / "models" / "activate")
    finish(start(folder / "taught1", "train", 1))


def use_few_words() -> None:
    """Let models generate only six words: after a few steps, they would generate bytes without an end."""
    from vilam.inference.model import Model

    with_all_words = Model.for_data.__func__  # type: ignore[attr-defined]

    def for_data(cls: type[Model], network: GroundingModel, tokenizer: Tokens, card: DatasetCard) -> Model:
        made: Model = with_all_words(cls, network, tokenizer, card)
        words = torch.tensor(tokenizer.encode(" red blue green circle square star"))
        grammar = replace(made.expression_grammar, words=words, first_words=words)
        return replace(made, expression_grammar=grammar)

    Model.for_data = classmethod(for_data)  # type: ignore[method-assign, assignment]


def evaluate(folder: Path) -> None:
    """One process and two evaluate the models of ``whole``."""
    for processes in (1, 2):
        root = folder / f"shared{processes}"
        for part in ("data", "models"):
            shutil.copytree(folder / "whole" / part, root / part)
        spread(root, "evaluate", processes)


def train_hf(folder: Path) -> None:
    """Every Hugging Face VLM is trained and evaluated; two processes train one of them, another one is a teacher."""
    from hf_checkpoints import HF_CHECKPOINTS

    for name, write in HF_CHECKPOINTS.items():
        root = folder / f"hf-{name}"
        write(root / "checkpoint")
        for number, stage in enumerate(("activate", "train", "evaluate")):
            if root.name == SPREAD and stage != "evaluate":
                spread(root, stage, 2)
            else:
                finish(start(root, stage, number))
    shutil.copytree(folder / TEACHING / "data" / "instructions", folder / TEACHING / "data" / "instructions-before")
    finish(start(folder / TEACHING, "synthesize", 3))


def fine_tune(folder: Path) -> None:
    """Models of other projects are fine-tuned."""
    from toy import FINE_TUNED

    for name in FINE_TUNED:
        for number, stage in enumerate(("activate", "train")):
            finish(start(folder / name, stage, number))


def spread(root: Path, stage: str | Callable[[], None], processes: int, **environment: str) -> None:
    """Run a stage, or other work, in a project in one process or several."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = str(listener.getsockname()[1])
    ranks = [{"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(processes)} for rank in range(processes)]
    common = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, **environment}
    finish(*[start(root, stage, int(own["RANK"]), **own, **common) for own in ranks])


def ablate(root: Path) -> None:
    """Run an ablation whose stages are forked from here."""
    from vilam.ablation.command import ablate
    from vilam.ablation.jobs import Job
    from vilam.ablation.runner import Launcher

    launcher = Launcher(root, 1, {"git_commit": "none"})

    def fork(job: Job) -> SimpleNamespace:
        return SimpleNamespace(pid=start(job.folder, job.stage, 0, **launcher.environment(job)), returncode=None)

    ablate(root / "plan.yaml", root, run=True, docs=None, launch=fork)


def main(folder: Path) -> None:
    """All runs, one after another."""
    os.environ["DS_ACCELERATOR"] = "cpu"
    import deepspeed  # noqa: F401

    for module in (*LATER, *(f"vilam.stages.{stage}" for stage in STAGES)):
        importlib.import_module(module)
    train_and_kill(folder)
    for name, processes in (("zero0", 1), ("zero2", 2), ("zero3", 2)):
        for stage in ("activate", "train"):
            spread(folder / name, stage, processes)
    (folder / "sharded").mkdir()
    spread(folder / "sharded", sharded.answer, 2)
    teach(folder)
    evaluate(folder)
    for number, stage in enumerate(("activate", "train", "evaluate")):
        finish(start(folder / "pretrained", stage, number, VILAM_CACHE=str(folder / "pretrained" / "cache")))
    ablate(folder / "compared")
    train_hf(folder)
    fine_tune(folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
