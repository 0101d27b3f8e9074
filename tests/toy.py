"""A toy for the tests of models, training, inference and stages: a tiny model and a handful of generated scenes.

``tests/`` lies on the path of every test (its conftest.py is there), so a test says ``import toy``.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import Dinov2Config, Dinov2Model, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from vilam.config import Settings, check_settings, read_yaml, yaml_text
from vilam.data.expressions import keep_described
from vilam.data.instructions import Instruction, write_instructions
from vilam.data.records import DatasetCard, ImageRecord
from vilam.data.scenes import CATEGORIES, LICENCE, generate_scene, keypoint_schemas
from vilam.data.store import write_dataset
from vilam.inference.model import Model
from vilam.models.build import build_model, build_tokenizer
from vilam.models.vilam.model import VilamForConditionalGeneration
from vilam.models.vilam.tokenization import GroundingTokenizer
from vilam.tasks import ACTIVATION, TASKS
from vilam.tasks.synthesis import render

PROJECT = Path(__file__).parents[1]
IMAGE_SIZE = 48
STEPS = 8
"""Of step 2 in `make_projects`."""
SPLITS = {"train": 8, "val": 3, "test": 3}
LLAMA = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "initializer_range": 0.2,
}
"""Weights large enough that the logits of a model that has learnt nothing differ from each other."""
RUN = {
    "steps": 4,
    "batch_size": 2,
    "instructions_per_image": 3,
    "warmup_steps": 1,
    "precision": "fp32",
    "validate_every": 4,
    "validation_images": 2,
    "checkpoint_every": 2,
    "threads": 1,
}
TAUGHT = {
    "synthesize__teacher": "models:/vilam@champion",
    "synthesize__described_fraction": 0.2,
    "synthesize__samples": 4,
    "synthesize__temperature": 1.0,
    "synthesize__min_iou": 0.02,
}
"""A model of eight steps hardly ever finds its way back: what overlaps at all counts."""
SHARED = {
    "evaluate__protocol": "vilam-oracle",
    "evaluate__dialogue": True,
    "evaluate__batch_size": 5,
    "evaluate__threads": 1,
}
"""An evaluation of everything, in batches so small that there are some for each process."""


PRETRAINED = {
    "model__vision": {
        "checkpoint": "vision",
        "model_type": None,
        "config": {},
        "frozen": True,
        "layers": [1, 2],
        "cache": True,
    },
    "model__merge": 2,
    "model__language": {
        "checkpoint": "language",
        "model_type": None,
        "config": {},
        "frozen": True,
        "lora": {"rank": 2, "alpha": 4, "dropout": 0.1, "targets": ["q_proj", "v_proj"]},
    },
}
"""A model whose parts start from `write_checkpoints`."""

LORA = {"rank": 2, "alpha": 4, "dropout": 0.1, "targets": ["q_proj", "v_proj"]}
BRIEF = {
    "steps": 3,
    "instructions_per_image": 2,
    "learning_rate": 0.02,
    "validate_every": 3,
    "validation_images": 1,
    "checkpoint_every": 3,
}
WHOLE = {
    "model__checkpoint": "checkpoint",
    "model__vision__frozen": True,
    "model__language__frozen": True,
    **{f"{step}__{name}": value for step in ("activate", "train") for name, value in BRIEF.items()},
    "train__tasks": {"rec_box": 3, "rec_keypoints": 1, "reg_class": 2, "reg_caption": 2},
    "train__cycle__start": 0.3,
    "train__cycle__images": 2,
    "train__cycle__samples": 2,
    "train__cycle__max_words": 8,
    "train__cycle__min_iou": 0.02,
    "train__cycle__teacher": None,
    "evaluate__tasks": ["rec_box", "reg_class", "reg_caption"],
    "evaluate__include_activate": False,
    "evaluate__max_images": 1,
    "evaluate__gallery": 1,
}
"""A run of a whole model: its alignment layer is trained, all else frozen; what overlaps at all goes round."""
WHOLE_RUNS: dict[str, dict[str, Any]] = {
    "blip2-opt": {"model__language__lora": LORA, "evaluate__include_activate": True},
    "blip2-t5": {"model__language__lora": {**LORA, "targets": ["q", "v"]}},
    "instructblip-vicuna": {
        "train__cycle__mode": "reward",
        "train__cycle__teacher": 1.0,
        "train__cycle__regions": 1,
    },
    "instructblip-t5": {},
    "llava": {
        "model__language__lora": LORA,
        "activate__deepspeed": "configs/deepspeed/zero3.json",
        "train__deepspeed": "configs/deepspeed/zero3.json",
    },
    "qwen2.5-vl": {},
    "qwen3-vl": {
        "model__language__lora": LORA,
        "activate__gradient_checkpointing": True,
        "train__gradient_checkpointing": True,
    },
    "paligemma": {
        "train__tasks": {"rec_box": 3, "rec_mask": 2, "reg_class": 2, "reg_caption": 2},
        "evaluate__tasks": ["rec_box", "rec_mask", "reg_class", "reg_caption"],
        "synthesize__teacher": "models/train",
        "synthesize__described_fraction": 0.5,
        "synthesize__samples": 4,
        "synthesize__temperature": 1.0,
        "synthesize__min_iou": 0.02,
    },
    "smolvlm": {
        "model__vision__frozen": False,
        "model__language__frozen": False,
        "train__cycle__teacher": 0.9,
    },
    "kosmos-2": {},
}
"""What is particular to each of hf_checkpoints.py's: LoRA, a mode, ZeRO, tasks, a teacher."""
FINE_TUNED = {"tuned-composed": "../pretrained/models/train", "tuned-hf": "../hf-blip2-opt/models/train"}
"""Projects that go on from another one's model, frozen parts with adapters either, and that model."""

ABLATION = """
name: toy
jobs: 2
threads: 1
seeds: [3]
fractions: [0.5]
settings:
  train.tasks: {rec_box: 3, reg_class: 2, reg_caption: 2}
  evaluate.tasks: [rec_box, reg_class, reg_caption]
  evaluate.include_activate: false
arms:
  none: {train.cycle.mode: none}
  pseudo: {train.cycle.mode: pseudo}
time_arms: []
time_fractions: [0.5]
"""
"""Of `make_projects`."""


def params(**changes: Any) -> dict[str, Any]:
    """params.yaml of a run of seconds; ``changes`` by dotted name with ``__`` for the dot: ``model__aligner="mlp"``."""
    content: dict[str, Any] = read_yaml(PROJECT / "params.yaml")
    content["prepare"]["scenes"] = {"image_size": IMAGE_SIZE, "num_images": dict(SPLITS)}
    content["model"] |= {"image_size": IMAGE_SIZE, "num_queries": 5, "coordinates": "token", "coordinate_bins": 101}
    content["model"]["vision"] |= {"model_type": "vilam_tower", "checkpoint": None}
    content["model"]["vision"]["config"] = {"hidden_sizes": [8, 16], "strides": [2, 2], "stem_stride": 3}
    content["model"]["language"] |= {"model_type": "llama", "checkpoint": None, "config": dict(LLAMA)}
    for stage in ("activate", "train"):
        content[stage] |= {**RUN, "processes": 1, "deepspeed": "configs/deepspeed/zero0.json"}
    content["synthesize"] |= {"threads": 1, "batch_size": 3}
    content["train"]["cycle"] |= {"mode": "pseudo", "start": 0.5, "refresh": 2, "images": 4, "kept": 4}
    content["evaluate"] |= {"max_images": 2, "gallery": 2, "bootstrap": 20}
    for name, value in changes.items():
        *path, last = name.split("__")
        section = content
        for key in path:
            section = section[key]
        section[last] = value
    model = content["model"]
    model["vision"] = {"layers": None, "cache": False, **model["vision"]}
    model["language"] = {"lora": None, **model["language"]}
    if "model__grounder" not in changes:
        model["grounder"] = model["aligner"] == "mlp" and model["coordinates"] == "token"
    return content


def settings(**changes: Any) -> Settings:
    """`params`, checked."""
    return check_settings(params(**changes), Path("params.yaml"))


@cache
def scenes() -> tuple[ImageRecord, ...]:
    """A few images of every split."""
    return tuple(generate_scene(3, i, split, IMAGE_SIZE) for split, count in SPLITS.items() for i in range(count))


@cache
def card() -> DatasetCard:
    """Their card."""
    return DatasetCard("scenes", tuple(CATEGORIES), keypoint_schemas(), tuple(SPLITS), (LICENCE,), {})


@cache
def records() -> dict[str, ImageRecord]:
    """The images by id."""
    return {record.image_id: record for record in scenes()}


@cache
def instructions() -> tuple[Instruction, ...]:
    """All that is asked about them, by all tasks and activation."""
    return tuple(_render(1.0))


def _render(described: float) -> Iterator[Instruction]:
    for record in scenes():
        yield from render(keep_described(record, described, 3), card(), [*TASKS.values(), ACTIVATION], 2, seed=3)


def of_split(split: str) -> list[Instruction]:
    """The instructions of a split."""
    return [instruction for instruction in instructions() if instruction.split == split]


@cache
def tokenizer(coordinates: str = "token") -> GroundingTokenizer:
    """A tokenizer of the toy's words."""
    texts = [text for each in of_split("train") for text in (each.question, each.answer)]
    return build_tokenizer(settings(model__coordinates=coordinates).model, texts)


def encode(style: str, coordinates: str) -> GroundingTokenizer:
    """A tokenizer such as language models bring along.

    "gpt2" has tokens of several digits, "sentencepiece" marks spaces, "llama2" also sets one before every piece.
    """
    return GroundingTokenizer(foreign_words(style), 101 if coordinates == "token" else None)


def foreign_words(style: str) -> PreTrainedTokenizerFast:
    """The tokenizer alone."""
    own = Tokenizer(models.BPE())
    if style == "gpt2":
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        own.pre_tokenizer, own.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    else:
        alphabet = list("0123456789[], :▁")
        scheme = "always" if style == "llama2" else "never"
        own.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme)
        own.decoder = decoders.Metaspace(prepend_scheme=scheme)
    texts = [text for each in of_split("train") for text in (each.question, each.answer)]
    trainer = trainers.BpeTrainer(
        vocab_size=600, special_tokens=["<eos>"], initial_alphabet=alphabet, show_progress=False
    )
    own.train_from_iterator([*texts, *map(str, range(1001))], trainer)
    return PreTrainedTokenizerFast(tokenizer_object=own, eos_token="<eos>")


def model(seed: int = 0, **changes: Any) -> VilamForConditionalGeneration:
    """A fresh model in evaluation mode; ``changes`` as `params` takes them, without the section."""
    chosen = settings(**{f"model__{name}": value for name, value in changes.items()}).model
    return build_model(chosen, tokenizer(chosen.coordinates), seed).eval()


@cache
def _with_grammars(coordinates: str) -> Model:
    return Model.for_data(model(coordinates=coordinates), tokenizer(coordinates), card())


def asked(network: VilamForConditionalGeneration | None = None, coordinates: str = "token") -> Model:
    """A network, or a fresh one, with the toy's tokenizer and the grammars of its data."""
    return replace(_with_grammars(coordinates), network=network or model(coordinates=coordinates))


def of_few_words(network: VilamForConditionalGeneration | None = None, coordinates: str = "token") -> Model:
    """`asked`, whose expressions consist of six words: so some expressions of an untrained network come to an end."""
    made = asked(network, coordinates)
    words = torch.tensor(made.tokenizer.encode(" red blue green thing left small"))
    return replace(made, expression_grammar=replace(made.expression_grammar, words=words, first_words=words))


def pretrained(**changes: Any) -> VilamForConditionalGeneration:
    """A model as it is made beside a language model that knew words before, with the weights of a fresh one."""
    config = model(**changes).config
    config.first_token = tokenizer(changes.get("coordinates", "token")).first_id
    torch.manual_seed(0)
    made = VilamForConditionalGeneration(config).eval()
    made.match_sizes()
    return made


def pixels(count: int, seed: int = 0) -> torch.Tensor:
    """Random pictures (count, 3, S, S)."""
    return torch.randn(count, 3, IMAGE_SIZE, IMAGE_SIZE, generator=torch.Generator().manual_seed(seed))


def write_project(root: Path, described: float = 1.0, **changes: Any) -> Path:
    """A project folder with the toy's data, as `prepare` and `synthesize` leave it, ready to be trained in.

    described: share of the training regions that have words.
    """
    write_settings(root, **changes)
    write_dataset(scenes(), card(), root / "data" / "records", 100)
    write_instructions(root / "data" / "instructions", instructions() if described == 1 else _render(described))
    return root


def write_settings(root: Path, **changes: Any) -> Path:
    """A project folder with nothing but its settings."""
    root.mkdir(parents=True, exist_ok=True)
    (root / "params.yaml").write_text(yaml_text(params(**changes)), encoding="utf-8")
    if not (root / "configs").exists():
        (root / "configs").symlink_to(PROJECT / "configs")
    return root


def write_checkpoints(root: Path) -> None:
    """A vision tower and a language model with its tokenizer, as a hub has them, their weights in several files."""
    torch.manual_seed(0)
    tower = Dinov2Config(hidden_size=32, num_hidden_layers=2, num_attention_heads=2, image_size=48, patch_size=8)
    Dinov2Model(tower).save_pretrained(root / "vision", max_shard_size="40KB")
    statistics = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}
    (root / "vision" / "preprocessor_config.json").write_text(json.dumps(statistics))
    words = foreign_words("gpt2")
    words.save_pretrained(root / "language")
    language = LlamaConfig(**LLAMA, vocab_size=len(words), eos_token_id=words.eos_token_id, pad_token_id=None)
    LlamaForCausalLM(language).save_pretrained(root / "language", max_shard_size="40KB")


def put_database(project: Path, database: Path) -> None:
    """A fresh database of MLflow, which takes seconds to make, into a project folder."""
    (project / "mlruns").mkdir()
    shutil.copy(database, project / "mlruns" / "mlflow.db")


def make_projects(folder: Path, database: Path) -> None:
    """The projects of runs.py, run; ``database``: a fresh one of MLflow. Fails with what was said."""
    # Everything that a checkpoint of the cycle holds: a teacher, drawn answers with their log probabilities.
    rewarded = {"mode": "reward", "samples": 2, "teacher": 0.9, "rec_then_reg": 1.0}
    tasks = {"rec_box": 3, "rec_keypoints": 1, "rec_mask": 1, "reg_class": 2, "reg_caption": 2}
    tasks |= {"rec_every": 1, "presence": 1}
    for name in ("whole", "killed"):
        changes = {f"train__cycle__{key}": value for key, value in rewarded.items()}
        changes |= {"prepare__absent_categories": 1, "train__tasks": tasks}
        project = write_settings(folder / name, train__steps=STEPS, activate__steps=2, **changes)
        put_database(project, database)
    for stage in (0, 2, 3):
        changes = {f"{step}__deepspeed": f"configs/deepspeed/zero{stage}.json" for step in ("activate", "train")}
        changes |= {"train__cycle__mode": "soft", "train__cycle__teacher": 0.9, "train__cycle__rec_then_reg": 1.0}
        changes |= {f"{step}__batch_size": 4 for step in ("activate", "train")}
        project = write_project(folder / f"zero{stage}", activate__steps=3, train__steps=4, **changes)
        put_database(project, database)
    for processes in (1, 2):
        project = write_settings(folder / f"taught{processes}", train__steps=2, **TAUGHT)
        write_dataset(scenes(), card(), project / "data" / "records", 100)
        put_database(project, database)
        put_database(write_settings(folder / f"shared{processes}", **SHARED), database)
    pretrained = write_project(folder / "pretrained", activate__steps=2, train__steps=STEPS, **PRETRAINED)
    write_checkpoints(pretrained)
    put_database(pretrained, database)
    for name, changes in WHOLE_RUNS.items():
        put_database(write_project(folder / f"hf-{name}", 0.5, **{**WHOLE, **changes}), database)
    for name, model in FINE_TUNED.items():
        put_database(write_project(folder / name, model__fine_tune_from=model, train__cycle__max_words=8), database)
    compared = write_settings(folder / "compared", activate__steps=2, train__steps=2)
    put_database(compared, database)
    (compared / "plan.yaml").write_text(ABLATION, encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(PROJECT), "OMP_NUM_THREADS": "1"}
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
        environment.pop(name, None)
    command = [sys.executable, str(Path(__file__).with_name("runs.py")), str(folder)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)
    said = "".join(f"{log}:\n{log.read_text()[-3000:]}" for log in sorted(folder.glob("*/log-*.txt")))
    assert done.returncode == 0, f"{done.stderr[-3000:]}\n{said}"
