"""The mistakes of docs/bad-input.md are made in a small project, and print the lines that stand there.

A line of bash makes each one in a folder of its own; those in `ELSEWHERE` are made by another test.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest
import toy
from documents import PROJECT, text
from shell import Run, Shell

PUT = """\
import sys
from pathlib import Path
from vilam.config import parse_yaml, read_yaml, yaml_text
content = read_yaml(Path("params.yaml"))
for word in sys.argv[1:]:
    name, _, value = word.partition("=")
    *path, last = name.split(".")
    section = content
    for part in path:
        section = section[part]
    section[last] = parse_yaml(value, word)
Path("params.yaml").write_text(yaml_text(content))
"""
"""``put train.steps=0`` writes settings into params.yaml unchecked."""
PREDICT = "vilam predict photo.jpg --locate 'the red disc'"
OLD = "mkdir -p models && cp -r models/train models/old; "
TEXT = "model.coordinates=text model.grounder=false"
ABLATE = "; vilam ablate plan.yaml"
MISTAKES = {
    # Data
    "no such folder": "put prepare.source=coco prepare.root=nowhere; vilam prepare",
    "no such source": "put prepare.source=photos prepare.root=.; vilam prepare",
    "records missing": "rm -r data/records; vilam evaluate",
    "truncated shard": "for f in data/records/train*; do truncate -s 100 $f; done; vilam synthesize",
    "instructions missing": "rm data/instructions/manifest.json; vilam evaluate",
    "truncated instructions": "truncate -s -10 data/instructions/train.parquet; vilam train",
    # Settings
    "not YAML": "echo 'a: [b: c: d' >> params.yaml; vilam prepare",
    "a preset with a typo": "echo 'train.stepz: 5' > preset.yaml; vilam use preset.yaml",
    "a preset that does not fit": "echo 'model.vision.cache: true' > preset.yaml; vilam use preset.yaml",
    "a sentence without its end": "put 'prepare.domain=A chest'; vilam prepare",
    "typo in a name": "put train.stepz=5; vilam prepare",
    "impossible value": "put train.steps=0; vilam prepare",
    "NaN": "put train.learning_rate=.nan; vilam prepare",
    "settings that do not fit together": "put prepare.source=voc; vilam prepare",
    "no such teacher": "put synthesize.teacher=models:/vilam@chief; vilam synthesize",
    "not an address of the registry": "put synthesize.teacher=models:/vilam; vilam synthesize",
    "a folder without a model": "put synthesize.teacher=nowhere; vilam synthesize",
    "a truncated teacher": f"{OLD} truncate -s -10 models/old/model.safetensors; put synthesize.teacher=models/old; "
    "vilam synthesize",
    "a teacher with other coordinates": f"{OLD} put synthesize.teacher=models/old {TEXT}; vilam synthesize",
    "no samples, impossible IoU": "put synthesize.samples=0; vilam synthesize",
    "unknown task": "put 'train.tasks={rec_boxx: 1}'; vilam prepare",
    "no task with a weight": "put 'train.tasks={rec_box: 0}'; vilam train",
    "unknown split": "put 'evaluate.splits=[tets]'; vilam evaluate",
    "a duplicate split": "put 'evaluate.splits=[test, test]'; vilam evaluate",
    "unknown model type": "put model.vision.model_type=vitt; vilam activate",
    "sizes that do not fit": "put model.language.config.hidden_size=130 "
    "model.language.config.num_attention_heads=4; vilam activate",
    "unknown split, before training": "put evaluate.splits=[tets]; vilam activate",
    "an unknown key of a part's config": "put model.language.config.hiden_size=8; vilam activate",
    "`predict --save` in a folder that does not exist": f"{PREDICT} --save none/x.png",
    "no such DeepSpeed file": "put activate.deepspeed=configs/none.json; vilam activate",
    "a model to fine-tune that does not exist": "put model.fine_tune_from=nowhere; vilam activate",
    "a model to fine-tune with other coordinates": f"{OLD} put model.fine_tune_from=models/old {TEXT}; vilam activate",
    "two models to start from": "put model.fine_tune_from=models/old model.checkpoint=some/model; vilam activate",
    "an old name of a setting": "put train.cycle.retell=0.5; vilam prepare",
    "more warm-up than steps": "put train.warmup_steps=20 train.steps=10; vilam prepare",
    "kept features of a tower that is trained": f"{OLD} put model.fine_tune_from=models/old model.vision.cache=true "
    "model.vision.frozen=true; vilam activate",
    "the mode `soft` with a Hugging Face VLM": "put model.checkpoint=some/model train.cycle.mode=soft; vilam prepare",
    "export of a composed model": "vilam export models/train folder",
    "adapters beside what is trained": "put 'model.language.lora={rank: 2, targets: [q_proj]}'; vilam prepare",
    "unknown metric in the gate": "put register.primary=rec_box/acc_05; vilam register",
    "another model to evaluate that does not exist": "put evaluate.model=nowhere; vilam evaluate",
    "a gate on the best of all templates": "put register.primary=rec_box_oracle/acc_0.5; vilam prepare",
    "unknown protocol": "vilam evaluate --protocol kind",
    # Ablations
    "no such file": "vilam ablate configs/none.yaml",
    "unknown key": f"echo 'speed: 5' >> plan.yaml{ABLATE}",
    "unknown setting": f"sed -i 's/^settings:/&\\n  train.stepz: 5/' plan.yaml{ABLATE}",
    "impossible value in an arm": f"sed -i 's/^  pseudo.*/  odd: {{train.cycle.mode: wheel}}/' plan.yaml{ABLATE}",
    "a duplicate arm": f"sed -i 's/^time_arms/  pseudo: {{train.cycle.mode: soft}}\\n&/' plan.yaml{ABLATE}",
    "no baseline": f"sed -i '/^  none/d' plan.yaml{ABLATE}",
    "unknown teacher": f"sed -i 's/^  pseudo.*/  loop: {{teacher: nobody}}/' plan.yaml{ABLATE}",
    "no seeds": f"sed -i 's/^seeds.*/seeds: []/' plan.yaml{ABLATE}",
    "a setting that the file itself sets": f"sed -i 's/^settings:/&\\n  seed: 5/' plan.yaml{ABLATE}",
    "variable not set": "cp configs/ablations/cells.yaml .; env -u VILAM_BCCD vilam ablate cells.yaml",
    "an arm or a fraction that the file does not have": "vilam ablate configs/ablations/scenes.yaml --arm x",
    # Machine
    "broken database": "echo nothing > mlruns/mlflow.db; vilam models",
    "MLflow's server is down": "MLFLOW_TRACKING_URI=http://127.0.0.1:9 MLFLOW_HTTP_REQUEST_MAX_RETRIES=0 vilam models",
    "truncated model": f"truncate -s -10 models/train/model.safetensors; {PREDICT} --model models/train",
    "broken config or tokenizer": f"echo nothing > models/train/config.json; {PREDICT} --model models/train",
    "broken metrics": "echo nothing > metrics/evaluate.json; vilam table",
    "`predict --segment … --then classify`": "vilam predict photo.jpg --segment 'the red disc' --then classify",
    "`predict --presence` of a model that was not trained on it": "vilam predict photo.jpg --presence disc",
    "`predict`, an expression without words": "vilam predict photo.jpg --locate '<image>'",
    "`predict`, an expression that is too long": 'vilam predict photo.jpg --locate "$(yes red | head -3000)"',
    "`predict`, no image": "echo nothing > y.png; vilam predict y.png --locate disc",
    "`predict`, nothing is registered": f"rm -r mlruns/* models metrics dvc.lock; {PREDICT}",
    "`predict`, not an address": f"{PREDICT} --model models:/vilam",
    "`predict`, no such model": f"{PREDICT} --model models:/vilam@chief",
}
"""A line of bash for each mistake."""
ELSEWHERE = {
    "tests/ablation/test_runner.py": ("a run fails",),
    "tests/data/readers/test_pickles.py": ("a pickle that would run something",),
    "tests/data/readers/test_read_coco.py": (
        *("image file missing", "annotation without its image", "unknown category", "truncated JSON"),
    ),
    "tests/data/readers/test_read_table.py": ("a table without a column",),
    "tests/data/test_recipes.py": ("a recipe without its licence",),
    "tests/data/test_selection.py": ("whole categories of a data set in which not every object is marked",),
    "tests/data/test_validation.py": (
        *("half an image", "no image at all in the file", "box outside", "box of no area"),
        *("duplicate image", "all objects of a category"),
    ),
    "tests/evaluation/test_report.py": ("full disk, the report",),
    "tests/models/backbones/test_features.py": ("patches do not divide the image",),
    "tests/models/vilam/test_compose.py": (
        *("checkpoint out of reach", "package not installed", "tokenizer of another model"),
        "heads that do not divide",
    ),
    "tests/stages/test_evaluate.py": ("`register` after another model was evaluated",),
    "tests/stages/test_hf.py": (
        *("a Hugging Face VLM out of reach", "an architecture whose coordinate format is not known"),
        *("nothing to train", "adapters for a layer that does not exist", "a checkpoint without its tokenizer"),
        *("a checkpoint without its processor's settings", "4 bits without bitsandbytes"),
        "a file of the checkpoint truncated or missing",
    ),
    "tests/stages/test_phase.py": ("a task that the data have nothing for",),
    "tests/stages/test_prepare.py": (
        *("too many of these", "empty split", "no object at all", "boxes as corners in YOLO"),
        *("every picture of test is in train too", "a picture that the model refuses"),
    ),
    "tests/test_dvc.py": ("typo in a section", "a second `dvc repro`"),  # DVC's own lines
    "tests/test_files.py": (
        *("full disk, `prepare`", "full disk, `synthesize`", "full disk, the model", "full disk, a metric or table"),
        "`prepare` while another one runs",
    ),
    "tests/test_team.py": ("`serve`, the port is taken",),
    "tests/tracking/test_rebase.py": ("the project was moved or copied",),
    "tests/tracking/test_runs.py": ("full disk, MLflow", "locked database"),
    "tests/tracking/test_sharing.py": ("`predict`, nothing is registered in a clone",),
    "tests/training/test_engine.py": ("a DeepSpeed file with wrong values",),
    "tests/training/test_checkpoint.py": ("damaged checkpoint", "full disk, a checkpoint"),
}
"""Mistakes that other tests make, by file."""


def rows() -> dict[str, str]:
    """The first line of each mistake."""
    found = re.findall(r"^\| (.+?) \| (.+) \|$", text("docs/bad-input.md"), re.M)
    lines = {mistake: re.search(r"`(.+?)`", line) for mistake, line in found}
    return {mistake: line[1] for mistake, line in lines.items() if line}


def form(line: str) -> str:
    """A line without the marks of Markdown and with # in place of numbers."""
    return re.sub(r"\d+", "#", line.replace("`", ""))


def make(mistake: str, finished: Shell, folder: Path) -> Run:
    """Make a mistake in a copy of the project, without the history that git and DVC keep."""
    shutil.copytree(finished.root, folder / "own", ignore=shutil.ignore_patterns(".git", ".dvc"))
    (folder / "own" / "put.py").write_text(PUT)
    (folder / "own" / "plan.yaml").write_text(toy.ABLATION)
    return Shell(folder / "own", finished.environment).run('put() { python put.py "$@"; }; ' + MISTAKES[mistake])


@pytest.fixture(scope="module")
def made(finished: Shell, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Future[Run]]]:
    """What each mistake prints, made two at a time."""
    with ThreadPoolExecutor(2) as pool:
        yield {each: pool.submit(make, each, finished, tmp_path_factory.mktemp("mistake")) for each in MISTAKES}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_prints_its_line(mistake: str, made: dict[str, Future[Run]]) -> None:
    done = made[mistake].result()
    printed = form(re.sub(r"/\S*/own/", "", done.out))
    found = re.search(".*".join(map(re.escape, form(rows()[mistake]).split("…"))), printed)
    assert found is not None, f"{rows()[mistake]}\n{done}"
    assert "Traceback" not in printed


def test_every_mistake_is_made_by_a_test() -> None:
    elsewhere = [mistake for mistakes in ELSEWHERE.values() for mistake in mistakes]
    assert {*MISTAKES}.isdisjoint(elsewhere)
    assert {*MISTAKES, *elsewhere} == rows().keys() - {"mistake"}
    assert all((PROJECT / path).is_file() for path in ELSEWHERE)
