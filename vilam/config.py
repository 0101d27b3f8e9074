"""params.yaml as frozen, checked settings: an unknown key or an impossible value is one clear line."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from vilam.errors import VilamError

Fraction = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0)]
Weight = Annotated[float, Field(ge=0)]
REGISTERED = re.compile(r"models:/([^/@]+)(?:@([^/@]+)|/(\d+))")
"""The address of a registered model: its name and an alias or a version."""
RECIPE_SUFFIXES = (".yaml", ".yml")
"""A source that ends so is the path of a recipe, another one is the name of a recipe of configs/datasets."""


class Section(BaseModel):
    """A block of params.yaml."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


Block = TypeVar("Block", bound=Section)


def _is_address(text: str) -> str:
    if text == "" or (text.startswith("models:") and not REGISTERED.fullmatch(text)):
        raise ValueError("expected models:/NAME@ALIAS, models:/NAME/VERSION, a model folder or null")
    return text


Address = Annotated[str, AfterValidator(_is_address)]
"""A model: a version of the registry, or a model folder."""


def _are_different(names: tuple[str, ...]) -> tuple[str, ...]:
    if len({*names}) < len(names):
        raise ValueError("expected each name once")
    return names


def _is_sentence(text: str) -> str:
    tidy = " ".join(text.split())
    if tidy and not tidy.endswith((".", "!", "?")):
        raise ValueError(f"expected a sentence with its end, such as {tidy}.")
    if set(tidy) & set("[]"):
        raise ValueError("expected a sentence without square brackets, which mark coordinates")
    return tidy


Sentence = Annotated[str, AfterValidator(_is_sentence)]
"""A whole sentence, or none."""


class ScenesSettings(Section):
    """Generated scenes; sizes in pixels, counts in images by split."""

    image_size: Annotated[int, Field(ge=32, le=1024)]
    num_images: dict[str, Count]


class PrepareSettings(Section):
    """Any source to image records.

    source: scenes (generated), a recipe of configs/datasets by name, or the path of a recipe's file. max_invalid: bad
    rows that are skipped before the stage stops. shots: regions of each category to which train is cut, drawn by the
    seed; null: all of them. unseen: categories that train does not hold, by name or so many drawn by the seed.
    domain: a sentence before every question, in place of the recipe's own; "" for none, null for the recipe's.
    absent_categories: where every object is marked, each category of an image is asked about as a whole, and so many
    that it lacks; null: none is.
    """

    source: Annotated[str, Field(min_length=1)]
    root: Path | None
    max_invalid: Annotated[int, Field(ge=0)]
    shots: Count | None
    unseen: Annotated[list[str], Field(min_length=1)] | Count | None
    absent_categories: Annotated[int, Field(ge=0)] | None
    domain: Sentence | None
    shard_size: Count
    scenes: ScenesSettings

    @model_validator(mode="after")
    def _root_where_files_are_read(self) -> PrepareSettings:
        if self.source != "scenes" and self.root is None:
            raise ValueError(f"source {self.source} reads files: set prepare.root to their folder")
        return self


class SynthesizeSettings(Section):
    """Records to instructions.

    expressions_per_region: how many expressions of a region are asked about at most. described_share: share of the
    regions of the split train that keep their expressions; the others keep only their boxes and categories.
    teacher: the model that describes those that nobody described, if any: models:/NAME@ALIAS, models:/NAME/VERSION or
    a model folder. The rest is how it is asked: batch_size counts images, min_iou is that of a round trip that returns.
    """

    expressions_per_region: Count
    described_share: Fraction
    teacher: Address | None
    samples: Count
    temperature: Weight
    min_iou: Annotated[float, Field(gt=0, le=1)]
    max_words: Count
    batch_size: Count
    processes: Count
    threads: Annotated[int, Field(ge=0)]


class TowerSettings(Section):
    """A part of the model: a transformers ``model_type`` with its config values, or a checkpoint to start from."""

    checkpoint: str | None
    model_type: str | None
    config: dict[str, object]
    frozen: bool

    @model_validator(mode="after")
    def _one_origin(self) -> TowerSettings:
        if (self.checkpoint is None) == (self.model_type is None):
            raise ValueError("set one of checkpoint and model_type, the other null")
        return self


class VisionSettings(TowerSettings):
    """The vision tower.

    layers: whose features are taken, from 1 upwards, side by side; null: the last one's. cache: whether the features of
    a frozen tower are kept on disk.
    """

    layers: Annotated[list[Count], Field(min_length=1)] | None
    cache: bool

    @model_validator(mode="after")
    def _features_of_a_frozen_tower(self) -> VisionSettings:
        if self.cache and not self.frozen:
            raise ValueError("cache keeps the features of a frozen tower: set frozen to true, or cache to false")
        return self


class LoraSettings(Section):
    """Adapters beside the layers of a frozen language model whose names end as ``targets`` say.

    bits: 4 to hold that model in (QLoRA, arXiv 2305.14314; a whole model only).
    """

    rank: Count
    alpha: Positive
    dropout: Annotated[float, Field(ge=0, lt=1)]
    targets: Annotated[list[str], Field(min_length=1)]
    bits: Literal[4] | None = None


class LanguageSettings(TowerSettings):
    """The language model, and the adapters with which it is trained where it is frozen."""

    lora: LoraSettings | None

    @model_validator(mode="after")
    def _adapters_beside_frozen_layers(self) -> LanguageSettings:
        if self.lora is not None and not self.frozen:
            raise ValueError("lora trains beside frozen layers: set frozen to true, or lora to null")
        return self


class ModelSettings(Section):
    """Vision tower + alignment layer + language model, and how coordinates are written.

    start: a model that vilam trained, to go on from, with everything of it but vision.cache as it is there: its
    coordinates must be the same; or null. checkpoint: a whole vision-language model of transformers, or null to join
    the parts below; of these only what is trained (frozen, freeze_aligner, lora) counts for a whole one. merge: so many
    patches by so many become one image token, in the mlp.
    """

    start: Address | None
    checkpoint: str | None
    image_size: Annotated[int, Field(ge=16)]
    vision: VisionSettings
    aligner: Literal["mlp", "qformer", "resampler"]
    merge: Count
    num_queries: Count
    freeze_aligner: bool
    language: LanguageSettings
    attention: Literal["lean", "eager", "sdpa"]
    coordinates: Literal["token", "text"]
    coordinate_bins: Annotated[int, Field(ge=11, le=1001)]
    grounder: bool

    @model_validator(mode="after")
    def _one_beginning(self) -> ModelSettings:
        if self.start is not None and self.checkpoint is not None:
            raise ValueError("start goes on from a whole model of vilam: set model.checkpoint to null, or start")
        return self

    @model_validator(mode="after")
    def _bins_fall_on_integers(self) -> ModelSettings:
        if 1000 % (self.coordinate_bins - 1):
            raise ValueError(f"coordinate_bins - 1 must divide 1000, got {self.coordinate_bins}")
        return self

    @model_validator(mode="after")
    def _patches_can_be_pointed_at(self) -> ModelSettings:
        if self.grounder and (self.aligner != "mlp" or self.coordinates != "token"):
            raise ValueError("grounder needs aligner mlp and coordinates token: set model.grounder to false")
        return self

    @model_validator(mode="after")
    def _whole_models_are_quantised(self) -> ModelSettings:
        lora = self.language.lora
        if self.checkpoint is None and lora is not None and lora.bits is not None:
            raise ValueError("language.lora.bits is for a whole model: set model.checkpoint, or bits to null")
        return self

    @property
    def frozen_parts(self) -> tuple[str, ...]:
        """The parts that are not trained."""
        frozen = {"vision": self.vision.frozen, "aligner": self.freeze_aligner, "language": self.language.frozen}
        return tuple(part for part, is_frozen in frozen.items() if is_frozen)

    @model_validator(mode="after")
    def _something_is_trained(self) -> ModelSettings:
        if self.checkpoint is not None and len(self.frozen_parts) == 3 and self.language.lora is None:
            raise ValueError("nothing is trained: set freeze_aligner to false, or language.lora")
        return self

    @model_validator(mode="after")
    def _features_are_kept_of_joined_towers(self) -> ModelSettings:
        if self.checkpoint is not None and self.vision.cache:
            raise ValueError("vision.cache is for a vision tower that is joined here: set it to false")
        return self

    @model_validator(mode="after")
    def _patches_are_merged_by_the_mlp(self) -> ModelSettings:
        if self.merge > 1 and self.aligner != "mlp":
            raise ValueError(f"merge is for aligner mlp: {self.aligner} has num_queries tokens: set model.merge to 1")
        return self


class OptimiserSettings(Section):
    """One training run; steps are optimiser steps, batch_size images a process and micro step.

    gradient_checkpointing: whether layers compute again on the way back what they would have to remember.
    """

    steps: Count
    batch_size: Count
    instructions_per_image: Count
    learning_rate: Positive
    final_learning_rate: Weight
    warmup_steps: Annotated[int, Field(ge=0)]
    weight_decay: Weight
    beta2: Annotated[float, Field(gt=0, lt=1)]
    max_grad_norm: Positive
    coordinate_sigma: Weight
    pointing_weight: Weight
    precision: Literal["auto", "fp32", "bf16"]
    gradient_checkpointing: bool
    validate_every: Count
    validation_images: Count
    checkpoint_every: Count
    processes: Count
    threads: Annotated[int, Field(ge=0)]
    deepspeed: Path


class CycleSettings(Section):
    """The cycle between REC and REG; see vilam/training/cycle.py for the modes and the terms.

    start, ramp: shares of the steps before it begins and over which its weights rise from 0. share: of a step's images
    that go round. instructions: the cycle's, at most, that such an image has in a step; they take the places of others,
    of the same task first. refresh: steps from one making of middles to the next, for ``images`` images; the newest
    ``kept`` are trained on. teacher: decay of the averaged weights that make the middles (in the mode reward: that are
    the reference), null: the weights of the step. samples: answers drawn of each question at ``temperature``,
    expressions of ``max_words`` tokens at most. regions: of an image that are described in the mode reward. min_iou: of
    a round trip that returns. reg_then_rec, rec_then_reg, retell: weights of the terms. kl: weight of the distance from
    the reference, in the mode reward.
    """

    mode: Literal["none", "pseudo", "soft", "reward"]
    start: Fraction
    ramp: Fraction
    share: Fraction
    instructions: Count
    refresh: Count
    images: Count
    kept: Count
    teacher: Fraction | None
    samples: Count
    temperature: Weight
    max_words: Count
    regions: Count
    min_iou: Fraction
    reg_then_rec: Weight
    rec_then_reg: Weight
    retell: Weight
    kl: Weight

    @model_validator(mode="after")
    def _groups_can_be_compared(self) -> CycleSettings:
        if self.mode == "reward" and self.samples < 2:
            raise ValueError("mode reward compares answers to one question: set samples to 2 or more")
        if self.mode == "reward" and self.kl > 0 and self.teacher is None:
            raise ValueError("kl needs a reference: set teacher (1.0: the weights as the cycle begins) or kl to 0")
        return self


class ActivateSettings(OptimiserSettings):
    """Step 1: captions with coordinates."""


class TrainSettings(OptimiserSettings):
    """Step 2: all tasks jointly + the cycle.

    tasks: the weight with which each is drawn. described_images: share of a step's images, at least, that hold a
    described region, so that words are met as often where few regions have any.
    """

    tasks: dict[str, Weight]
    described_images: Fraction
    cycle: CycleSettings


class EvaluateSettings(Section):
    """The evaluation. ``max_images`` bounds it; gallery counts pictures a task.

    model: the one that is asked, whatever it was trained on; null: those of this project.
    protocol: strict, or besides the strict numbers those of the best of all templates (see vilam/evaluation/oracle.py).
    splits: of the data, asked about together. tasks: those that are asked, null for all. dialogue: whether each box
    that was found is then asked for its category. step_1: whether the model of step 1 is asked too. processes: that
    share the answering.
    """

    model: Address | None
    protocol: Literal["strict", "vilam-oracle"]
    splits: Annotated[tuple[str, ...], Field(min_length=1), AfterValidator(_are_different)]
    tasks: Annotated[tuple[str, ...], Field(min_length=1)] | None
    dialogue: bool
    step_1: bool
    max_images: Count
    batch_size: Count
    gallery: Count
    bootstrap: Count
    processes: Count
    threads: Annotated[int, Field(ge=0)]


class RegisterSettings(Section):
    """The gate: ``champion`` moves only if ``primary`` is not worse than its beyond the interval, nor a guard."""

    model_name: Annotated[str, Field(min_length=1)]
    primary: str
    guards: dict[str, Weight]

    @model_validator(mode="after")
    def _strict_numbers_alone(self) -> RegisterSettings:
        if chosen := [name for name in (self.primary, *self.guards) if "oracle" in name]:
            raise ValueError(f"{chosen[0]} is chosen by the truth: name a strict metric")
        return self


class Settings(Section):
    """All of params.yaml."""

    seed: Annotated[int, Field(ge=0)]
    prepare: PrepareSettings
    synthesize: SynthesizeSettings
    model: ModelSettings
    activate: ActivateSettings
    train: TrainSettings
    evaluate: EvaluateSettings
    register_: Annotated[RegisterSettings, Field(alias="register")]

    @model_validator(mode="after")
    def _soft_words_are_packed(self) -> Settings:
        if self.model.checkpoint is not None and self.train.cycle.mode == "soft":
            raise ValueError("train.cycle.mode soft is for parts that are joined here: set model.checkpoint to null")
        return self


def load_settings(path: Path) -> Settings:
    """Read and check params.yaml; raises VilamError naming the setting, what is wrong and what is expected."""
    return check_settings(read_yaml(path), path)


def read_yaml(path: Path, loader: type[yaml.SafeLoader] = yaml.SafeLoader) -> Any:
    """The content of a YAML file; raises VilamError where there is none or it cannot be read."""
    try:
        return yaml.load(path.read_text(encoding="utf-8"), loader)
    except FileNotFoundError:
        raise VilamError(f"{path}: not found: run vilam in the project's folder") from None
    except (OSError, UnicodeError) as error:
        raise VilamError(f"{path}: not readable: {error}") from None
    except yaml.YAMLError as error:
        raise VilamError(f"{path}: not readable as YAML: {' '.join(str(error).split())}") from None


def check_settings(content: object, source: Path | str) -> Settings:
    """Check settings that were read from ``source``; raises VilamError as `load_settings` does."""
    return checked(Settings, content, source)


def checked(model: type[Block], content: object, source: Path | str) -> Block:
    """The content as a section; raises VilamError of one line that names the source, the setting and what is wrong."""
    try:
        return model.model_validate(content)
    except ValidationError as error:
        raise VilamError("; ".join(_in_words(source, problem) for problem in error.errors())) from None


def _in_words(path: Path | str, problem: object) -> str:
    assert isinstance(problem, dict)
    name = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        return f"{path}: {name}: no such setting: check its spelling"
    message = str(problem["msg"]).removeprefix("Value error, ")
    found = "" if isinstance(problem["input"], dict) else f" (found {problem['input']!r})"
    return f"{path}: {name}: {message}{found}" if name else f"{path}: {message}"
