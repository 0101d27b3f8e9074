"""Toy data for tests of models, training, inference and stages: a tiny model and a few generated scenes.

``tests/`` is on the import path of every test, because its conftest.py is there.
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
"""Optimiser steps of `train` in `make_projects`."""
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
"""The language model; its random weights are large enough that the logits of an untrained model differ."""
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
"""Settings with a teacher; after eight steps round trips nearly always fail, so any overlap counts."""
SHARED = {
    "evaluate__protocol": "vilam-oracle",
    "evaluate__dialogue": True,
    "evaluate__batch_size": 5,
    "evaluate__threads": 1,
}
"""An evaluation of everything, in small batches, so that each process has some."""


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
"""A model whose parts start from the checkpoints of `write_checkpoints`."""

LORA = {"rank": 2, "alpha": 4, "dropout": 0.1, "targets": ["q_proj", "v_proj"]}
BRIEF = {
    "steps": 3,
    "instructions_per_image": 2,
    "learning_rate": 0.02,
    "validate_every": 3,
    "validation_images": 1,
    "checkpoint_every": 3,
}
HF = {
    "model__checkpoint": "checkpoint",
    "model__vision__frozen": True,
    "model__language__frozen": True,
    **{f"{phase}__{name}": value for phase in ("activate", "train") for name, value in BRIEF.items()},
    "train__tasks": {"rec_box": 3, "rec_keypoints": 1, "reg_class": 2, "reg_caption": 2},
    "train__cycle__start": 0.3,
    "train__cycle__images": 2,
    "train__cycle__samples": 2,
    "train__cycle__max_tokens": 8,
    "train__cycle__min_iou": 0.02,
    "train__cycle__teacher": None,
    "evaluate__tasks": ["rec_box", "reg_class", "reg_caption"],
    "evaluate__include_activate": False,
    "evaluate__max_images": 1,
    "evaluate__gallery": 1,
}
"""Settings of a Hugging Face VLM with everything frozen except its alignment layer; any overlap completes a cycle."""
HF_RUNS: dict[str, dict[str, Any]] = {
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
        "evaluate__zero_shot": "checkpoint",
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
"""Further settings of each checkpoint of hf_checkpoints.py: LoRA, a mode, ZeRO, tasks, a teacher."""
FINE_TUNED = {"tuned-composed": "../pretrained/models/train", "tuned-hf": "../hf-blip2-opt/models/train"}
"""Projects that fine-tune another one's model, which has frozen parts and adapters, and the folder of that model."""

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
"""The plan of the ablation in `make_projects`."""


def params(**changes: Any) -> dict[str, Any]:
    """Settings for a run of seconds; ``changes`` by dotted name with ``__`` for dots: ``model__aligner="mlp"``."""
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
    """The checked settings of `params`."""
    return check_settings(params(**changes), Path("params.yaml"))


@cache
def scenes() -> tuple[ImageRecord, ...]:
    """A few images of every split."""
    return tuple(generate_scene(3, i, split, IMAGE_SIZE) for split, count in SPLITS.items() for i in range(count))


@cache
def card() -> DatasetCard:
    """The card of the scenes."""
    return DatasetCard("scenes", tuple(CATEGORIES), keypoint_schemas(), tuple(SPLITS), (LICENCE,), {})


@cache
def records() -> dict[str, ImageRecord]:
    """The images by id."""
    return {record.image_id: record for record in scenes()}


@cache
def instructions() -> tuple[Instruction, ...]:
    """The instructions of the scenes, of all tasks and activation."""
    return tuple(_render(1.0))


def _render(described: float) -> Iterator[Instruction]:
    for record in scenes():
        yield from render(keep_described(record, described, 3), card(), [*TASKS.values(), ACTIVATION], 2, seed=3)


def of_split(split: str) -> list[Instruction]:
    """The instructions of a split."""
    return [instruction for instruction in instructions() if instruction.split == split]


@cache
def tokenizer(coordinates: str = "token") -> GroundingTokenizer:
    """A tokenizer that is trained on the toy's instructions."""
    texts = [text for each in of_split("train") for text in (each.question, each.answer)]
    return build_tokenizer(settings(model__coordinates=coordinates).model, texts)


def pretrained_tokenizer(style: str, coordinates: str) -> GroundingTokenizer:
    """A tokenizer like that of a pretrained language model.

    style: "gpt2" has tokens of several digits, "sentencepiece" marks spaces, "llama2" also adds one before every text.
    """
    return GroundingTokenizer(hf_tokenizer(style), 101 if coordinates == "token" else None)


def hf_tokenizer(style: str) -> PreTrainedTokenizerFast:
    """The tokenizer of transformers in `pretrained_tokenizer`."""
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
    """An untrained model in evaluation mode; ``changes`` as in `params`, without the section."""
    chosen = settings(**{f"model__{name}": value for name, value in changes.items()}).model
    return build_model(chosen, tokenizer(chosen.coordinates), seed).eval()


@cache
def _model_with_grammars(coordinates: str) -> Model:
    return Model.for_data(model(coordinates=coordinates), tokenizer(coordinates), card())


def with_grammars(network: VilamForConditionalGeneration | None = None, coordinates: str = "token") -> Model:
    """A network, or an untrained one, with the toy's tokenizer and the grammars of its data."""
    return replace(_model_with_grammars(coordinates), network=network or model(coordinates=coordinates))


def with_few_words(network: VilamForConditionalGeneration | None = None, coordinates: str = "token") -> Model:
    """`with_grammars` with only six words in expressions, so that some expressions of an untrained network end."""
    made = with_grammars(network, coordinates)
    words = torch.tensor(made.tokenizer.encode(" red blue green thing left small"))
    return replace(made, expression_grammar=replace(made.expression_grammar, words=words, first_words=words))


def pretrained(**changes: Any) -> VilamForConditionalGeneration:
    """A model with the embeddings of a pretrained language model, but random weights."""
    config = model(**changes).config
    config.first_token = tokenizer(changes.get("coordinates", "token")).first_id
    torch.manual_seed(0)
    made = VilamForConditionalGeneration(config).eval()
    made.match_sizes()
    return made


def pixels(count: int, seed: int = 0) -> torch.Tensor:
    """Random images (count, 3, S, S)."""
    return torch.randn(count, 3, IMAGE_SIZE, IMAGE_SIZE, generator=torch.Generator().manual_seed(seed))


def write_project(root: Path, described: float = 1.0, **changes: Any) -> Path:
    """A project folder with the toy's records and instructions, ready for training.

    described: fraction of the training regions that have expressions.
    """
    write_settings(root, **changes)
    write_dataset(scenes(), card(), root / "data" / "records", 100)
    write_instructions(root / "data" / "instructions", instructions() if described == 1 else _render(described))
    return root


def write_settings(root: Path, **changes: Any) -> Path:
    """A project folder with only its settings."""
    root.mkdir(parents=True, exist_ok=True)
    (root / "params.yaml").write_text(yaml_text(params(**changes)), encoding="utf-8")
    if not (root / "configs").exists():
        (root / "configs").symlink_to(PROJECT / "configs")
    return root


def write_checkpoints(root: Path) -> None:
    """A vision tower and a language model with its tokenizer in the hub's layout, with weights in several files."""
    torch.manual_seed(0)
    tower = Dinov2Config(hidden_size=32, num_hidden_layers=2, num_attention_heads=2, image_size=48, patch_size=8)
    Dinov2Model(tower).save_pretrained(root / "vision", max_shard_size="40KB")
    statistics = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}
    (root / "vision" / "preprocessor_config.json").write_text(json.dumps(statistics))
    own_tokenizer = hf_tokenizer("gpt2")
    own_tokenizer.save_pretrained(root / "language")
    language = LlamaConfig(
        **LLAMA, vocab_size=len(own_tokenizer), eos_token_id=own_tokenizer.eos_token_id, pad_token_id=None
    )
    LlamaForCausalLM(language).save_pretrained(root / "language", max_shard_size="40KB")


def put_database(project: Path, database: Path) -> None:
    """Copy an empty database of MLflow, which takes seconds to create, into a project folder."""
    (project / "mlruns").mkdir()
    shutil.copy(database, project / "mlruns" / "mlflow.db")


def make_projects(folder: Path, database: Path) -> None:
    """Create and run the projects of runs.py; ``database``: an empty one of MLflow. Fails with the logs of the runs."""
    # So that checkpoints hold all of the cycle: a teacher, sampled answers with their log probabilities.
    reward = {"mode": "reward", "samples": 2, "teacher": 0.9, "rec_then_reg": 1.0}
    tasks = {"rec_box": 3, "rec_keypoints": 1, "rec_mask": 1, "reg_class": 2, "reg_caption": 2}
    tasks |= {"rec_every": 1, "presence": 1}
    for name in ("whole", "killed"):
        changes = {f"train__cycle__{key}": value for key, value in reward.items()}
        changes |= {"prepare__absent_categories": 1, "train__tasks": tasks}
        project = write_settings(folder / name, train__steps=STEPS, activate__steps=2, **changes)
        put_database(project, database)
    for stage in (0, 2, 3):
        changes = {f"{phase}__deepspeed": f"configs/deepspeed/zero{stage}.json" for phase in ("activate", "train")}
        changes |= {"train__cycle__mode": "soft", "train__cycle__teacher": 0.9, "train__cycle__rec_then_reg": 1.0}
        changes |= {f"{phase}__batch_size": 4 for phase in ("activate", "train")}
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
    for name, changes in HF_RUNS.items():
        put_database(write_project(folder / f"hf-{name}", 0.5, **{**HF, **changes}), database)
    for name, model in FINE_TUNED.items():
        put_database(write_project(folder / name, model__fine_tune_from=model, train__cycle__max_tokens=8), database)
    compared = write_settings(folder / "compared", activate__steps=2, train__steps=2)
    put_database(compared, database)
    (compared / "plan.yaml").write_text(ABLATION, encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(PROJECT), "OMP_NUM_THREADS": "1"}
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
        environment.pop(name, None)
    command = [sys.executable, str(Path(__file__).with_name("runs.py")), str(folder)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)
    logs = "".join(f"{log}:\n{log.read_text()[-3000:]}" for log in sorted(folder.glob("*/log-*.txt")))
    assert done.returncode == 0, f"{done.stderr[-3000:]}\n{logs}"
