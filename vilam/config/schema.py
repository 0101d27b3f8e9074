"""The schema of params.yaml: every setting with its type, its bounds, its default and what it does.

In each section, the settings that most people need are first. `scripts/settings_table.py` makes docs/settings.md from
this file, and the form that Prefect shows for a run is made from it too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

from vilam.layout import REGISTERED

Fraction = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]
Number = Annotated[int, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]
Weight = Annotated[float, Field(ge=0)]
TASK_NAMES = ("rec_box", "rec_keypoints", "rec_mask", "reg_class", "reg_caption", "rec_every", "presence")
"""The tasks of vilam/tasks, which is too heavy to import here; a test compares the two."""
RECIPE_SUFFIXES = (".yaml", ".yml")
"""A source that ends in one of these is the path of a recipe; any other is the name of a file in configs/datasets."""
PHASES = ("activate", "train")
"""The sections that use the value of `optimiser` for every shared setting that they do not set themselves."""


class Section(BaseModel):
    """A block of a settings file."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Described(Section):
    """A block of params.yaml; the docstring of a field is its description."""

    model_config = ConfigDict(use_attribute_docstrings=True, validate_default=True)


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
    sentence = " ".join(text.split())
    if sentence and not sentence.endswith((".", "!", "?")):
        raise ValueError(f"expected a sentence with its end, such as {sentence}.")
    if set(sentence) & set("[]"):
        raise ValueError("expected a sentence without square brackets, which mark coordinates")
    return sentence


Sentence = Annotated[str, AfterValidator(_is_sentence)]
"""A whole sentence, or an empty text."""


class ScenesSettings(Described):
    """Generated scenes."""

    num_images: Annotated[dict[str, Count], Field(min_length=1)] = {"train": 10000, "val": 200, "test": 400}
    """Images of each split."""
    image_size: Annotated[int, Field(ge=32, le=1024)] = 96
    """Width and height of a scene, in pixels."""


class PrepareSettings(Described):
    """From any source to image records."""

    source: Annotated[str, Field(min_length=1)] = "scenes"
    """Where the images come from: scenes (generated), a recipe by name (`vilam datasets`), or a recipe's file."""
    root: Path | None = None
    """The folder of the source's files; null for scenes."""
    shots: Count | None = None
    """Regions of each category that train keeps, sampled by the seed; null: all."""
    unseen: Annotated[list[str], Field(min_length=1)] | Count | None = None
    """Categories that are held out of train: their names, or a number that the seed samples; null: none."""
    domain: Sentence | None = None
    """A sentence before every question; "" for none, null for the recipe's own."""
    absent_categories: Number | None = None
    """Ask about each category of an image as a whole, and about this many that it lacks; null: do not ask."""
    max_invalid: Weight = 0.05
    """Bad rows of one kind that are left out, at most: a fraction below 1 of all pictures or objects, or a number."""
    shard_size: Count = 1000
    """Images of one Parquet file."""
    scenes: ScenesSettings = ScenesSettings()

    @model_validator(mode="after")
    def _files_need_a_folder(self) -> Self:
        if self.source != "scenes" and self.root is None:
            raise ValueError(f"source {self.source} reads files: set prepare.root to their folder")
        return self


class SynthesizeSettings(Described):
    """From records to instructions; a teacher describes the regions that have no expressions."""

    teacher: Address | None = None
    """The model that describes regions without expressions: models:/NAME@ALIAS, models:/NAME/VERSION or a folder."""
    described_fraction: Fraction = 1.0
    """Fraction of the training regions that keep their expressions; the others keep boxes and categories."""
    expressions_per_region: Count = 3
    """Expressions of one region that are asked about, at most."""
    samples: Count = 4
    """Expressions that the teacher samples for a region."""
    temperature: Weight = 0.3
    """Temperature of these samples; 0: greedy, so that samples differ only by their question."""
    min_iou: Annotated[float, Field(gt=0, le=1)] = 0.5
    """Round-trip IoU, at least, of an expression that is kept; others are dropped."""
    max_tokens: Count = 30
    """Tokens of an expression, at most; longer ones are dropped."""
    batch_size: Count = 16
    """Images of a batch of each process."""
    processes: Count = 1
    """Processes that describe."""
    threads: Number = 0
    """Threads of each process; 0: torch decides."""


class TowerSettings(Described):
    """A part of the model: a checkpoint to start from, or a ``model_type`` of transformers with its config."""

    checkpoint: str | None = None
    """Pretrained weights, by hub name, folder or package:NAME; null: random weights with model_type."""
    model_type: str | None = None
    """A model type of transformers; unused with a checkpoint, which has its own."""
    config: dict[str, object] = {}
    """Values of the model type's config."""
    frozen: bool = False
    """Keep the weights as they are."""

    @model_validator(mode="before")
    @classmethod
    def _defaults_belong_together(cls, content: Any) -> Any:
        """The default config is that of the default model type, and neither is for a checkpoint."""
        if not isinstance(content, Mapping):
            return content
        if content.get("checkpoint") is not None:
            return {"model_type": None, "config": {}, **content}
        own = cls.model_fields["model_type"].default
        return content if content.get("model_type", own) == own else {"config": {}, **content}

    @model_validator(mode="after")
    def _one_origin(self) -> Self:
        if (self.checkpoint is None) == (self.model_type is None):
            raise ValueError("set one of checkpoint and model_type, the other null")
        return self


class VisionSettings(TowerSettings):
    """The vision tower."""

    model_type: str | None = "vilam_tower"
    """vilam_tower or any vision model of transformers (vit, convnext …); a checkpoint has its own."""
    config: dict[str, object] = {"hidden_sizes": [32, 64, 128], "strides": [1, 2, 2], "stem_stride": 3}
    """Values of the model type's config: the size of the tower."""
    layers: Annotated[list[Count], Field(min_length=1)] | None = None
    """Layers whose features are taken, counted from 1, such as [6, 9, 11]; null: the last one."""
    cache: bool = False
    """Cache the features of a frozen tower on disk, so that they are computed once for each image."""

    @model_validator(mode="after")
    def _features_of_a_frozen_tower(self) -> Self:
        if self.cache and not self.frozen:
            raise ValueError("cache keeps the features of a frozen tower: set frozen to true, or cache to false")
        return self


class LoraSettings(Described):
    """LoRA adapters beside the layers of a frozen language model."""

    rank: Count = 8
    """Rank of an adapter."""
    alpha: Positive = 16.0
    """An adapter's output is scaled by alpha / rank."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Fraction of an adapter's input that is dropped in training."""
    targets: Annotated[list[str], Field(min_length=1)] = ["q_proj", "v_proj"]
    """Endings of the names of the adapted layers."""
    bits: Literal[4] | None = None
    """4: the frozen weights in 4 bits (QLoRA, arXiv 2305.14314; Hugging Face VLMs only); null: full precision."""


class LanguageSettings(TowerSettings):
    """The language model."""

    model_type: str | None = "llama"
    """A causal language model of transformers; a checkpoint has its own."""
    config: dict[str, object] = {
        "hidden_size": 128,
        "intermediate_size": 384,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 4,
        "max_position_embeddings": 2048,
        "initializer_range": 0.09,
    }
    """Values of the model type's config: the size of the language model."""
    lora: LoraSettings | None = None
    """Adapters of a frozen language model, such as {rank: 8, alpha: 16, targets: [q_proj, v_proj]}; null: none."""

    @model_validator(mode="after")
    def _adapters_beside_frozen_layers(self) -> Self:
        if self.lora is not None and not self.frozen:
            raise ValueError("lora trains beside frozen layers: set frozen to true, or lora to null")
        return self


class ModelSettings(Described):
    """Vision tower + alignment layer + language model, and how coordinates are written.

    With fine_tune_from, everything except vision.cache comes from that model, and its coordinate format must be the
    same. With checkpoint, of the parts only frozen, freeze_aligner and lora are used: they define what is trained.
    """

    fine_tune_from: Address | None = None
    """A model of vilam to fine-tune: models:/NAME@ALIAS, models:/NAME/VERSION or a folder."""
    checkpoint: str | None = None
    """A Hugging Face VLM, by hub name or folder; null: a model composed of the parts below."""
    max_pixels: Count | None = None
    """With checkpoint: pictures of more pixels are made smaller, such as 1003520; null: as the checkpoint says."""
    min_pixels: Count | None = None
    """With checkpoint: pictures of fewer pixels are enlarged; null: as the checkpoint says."""
    image_size: Annotated[int, Field(ge=16)] = 96
    """Images are resized to this square, in pixels."""
    vision: VisionSettings = VisionSettings()
    language: LanguageSettings = LanguageSettings()
    aligner: Literal["mlp", "qformer", "resampler"] = "mlp"
    """The layer between vision and language."""
    coordinates: Literal["token", "text"] = "token"
    """How a coordinate is encoded: token (one token each, with a shared position code) or text (digits)."""
    coordinate_bins: Annotated[int, Field(ge=11, le=1001)] = 101
    """Number of coordinate tokens; 101: 0, 10, 20 … 1000."""
    grounder: bool = True
    """A layer between patches and the words and boxes that mean them; needs aligner mlp and coordinates token."""
    merge: Count = 1
    """Patches along each side that become one image token, such as 2 for 2 x 2; aligner mlp only."""
    num_queries: Count = 32
    """Image tokens of qformer and resampler."""
    freeze_aligner: bool = False
    """Keep the weights of the alignment layer as they are."""
    attention: Literal["lean", "eager", "sdpa"] = "lean"
    """How attention is computed: lean is the fastest on a CPU, sdpa on a GPU."""

    @model_validator(mode="after")
    def _one_start(self) -> Self:
        if self.fine_tune_from is not None and self.checkpoint is not None:
            raise ValueError(
                "fine_tune_from names a trained model of vilam: set model.checkpoint or model.fine_tune_from to null"
            )
        return self

    @model_validator(mode="after")
    def _pixels_are_of_a_whole_model(self) -> Self:
        if self.checkpoint is None and (self.min_pixels, self.max_pixels) != (None, None):
            raise ValueError("min_pixels and max_pixels are for a whole model: set model.checkpoint, or them to null")
        if self.min_pixels is not None and self.max_pixels is not None and self.min_pixels > self.max_pixels:
            raise ValueError(f"min_pixels {self.min_pixels} is more than max_pixels {self.max_pixels}")
        return self

    @model_validator(mode="after")
    def _bins_fall_on_integers(self) -> Self:
        if 1000 % (self.coordinate_bins - 1):
            raise ValueError(f"coordinate_bins - 1 must divide 1000, got {self.coordinate_bins}")
        return self

    @model_validator(mode="after")
    def _patches_can_be_pointed_at(self) -> Self:
        if self.grounder and (self.aligner != "mlp" or self.coordinates != "token"):
            raise ValueError("grounder needs aligner mlp and coordinates token: set model.grounder to false")
        return self

    @model_validator(mode="after")
    def _whole_models_are_quantised(self) -> Self:
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
    def _something_is_trained(self) -> Self:
        if self.checkpoint is not None and len(self.frozen_parts) == 3 and self.language.lora is None:
            raise ValueError("nothing is trained: set freeze_aligner to false, or language.lora")
        return self

    @model_validator(mode="after")
    def _features_are_kept_of_composed_towers(self) -> Self:
        if self.checkpoint is not None and self.vision.cache:
            raise ValueError("vision.cache is for a model that is composed of parts: set it to false")
        return self

    @model_validator(mode="after")
    def _patches_are_merged_by_the_mlp(self) -> Self:
        if self.merge > 1 and self.aligner != "mlp":
            raise ValueError(f"merge is for aligner mlp: {self.aligner} has num_queries tokens: set model.merge to 1")
        return self


class SharedOptimiserSettings(Described):
    """How both phases train; `activate` and `train` can set any of these for themselves."""

    batch_size: Count = 16
    """Images of an optimiser step, over all processes."""
    learning_rate: Positive = 2.0e-3
    """Highest learning rate, which warm-up reaches."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """Floating-point format; auto: bf16 if it is fast."""
    processes: Count = 1
    """Processes that train, one a GPU."""
    deepspeed: Path = Path("configs/deepspeed/zero0.json")
    """DeepSpeed's file, by ZeRO stage: configs/deepspeed/zero0.json to zero3.json."""
    threads: Number = 0
    """Threads of each process; 0: torch decides."""
    workers: Number | None = None
    """Processes that prepare batches ahead, for each that trains; null: some for a GPU, none on a CPU."""
    gradient_checkpointing: bool = False
    """Compute activations again in the backward pass: less memory, more time."""
    instructions_per_image: Count = 8
    """Instructions that are packed behind one image."""
    weight_decay: Weight = 0.05
    """AdamW's weight decay, on matrices."""
    beta2: Annotated[float, Field(gt=0, lt=1)] = 0.98
    """AdamW's second beta."""
    max_grad_norm: Positive = 1.0
    """Norm to which gradients are clipped."""
    coordinate_sigma: Weight = 1.5
    """Standard deviation of a coordinate's soft target, in bins; 0: a hard target."""
    pointing_weight: Weight = 2.0
    """Weight of the pointing loss, which trains words to point at the patches of their box."""
    validation_images: Count = 32
    """Held-out images of a validation."""
    checkpoint_every: Count = 250
    """Optimiser steps from one checkpoint to the next."""


class OptimiserSettings(SharedOptimiserSettings):
    """How one phase trains, every setting resolved: its own, or that of `optimiser`."""

    steps: Count = 2200
    """Optimiser steps."""
    final_learning_rate: Weight = 2.0e-5
    """Learning rate at the last step, which a cosine reaches."""
    warmup_steps: Number = 20
    """Optimiser steps over which the learning rate rises from 0."""
    validate_every: Count = 550
    """Optimiser steps from one validation to the next."""

    @model_validator(mode="after")
    def _warmup_ends(self) -> Self:
        if self.warmup_steps > self.steps:
            raise ValueError(f"warmup_steps {self.warmup_steps} is above steps {self.steps}: set it to fewer")
        return self

    def completed(self, shared: SharedOptimiserSettings) -> Self:
        """These settings, with those of ``shared`` that they do not set themselves."""
        missing = SharedOptimiserSettings.model_fields.keys() - self.model_fields_set
        return self.model_copy(update={name: getattr(shared, name) for name in missing})


class ActivateSettings(OptimiserSettings):
    """Phase 1: captions with coordinates. Shared settings that it does not set have the value of `optimiser`."""

    steps: Count = 200
    """Optimiser steps."""
    final_learning_rate: Weight = 2.0e-3
    """Learning rate at the last step, which a cosine reaches."""
    warmup_steps: Number = 40
    """Optimiser steps over which the learning rate rises from 0."""
    validate_every: Count = 200
    """Optimiser steps from one validation to the next."""


class CycleSettings(Described):
    """The cycle between REC and REG; docs/cycle.md explains the modes and the terms."""

    mode: Literal["none", "pseudo", "soft", "reward"] = "pseudo"
    """How the two directions supervise each other; none: not at all."""
    image_fraction: Fraction = 0.5
    """Fraction of an optimiser step's images that the cycle trains on."""
    reg_then_rec: Weight = 0.4
    """Weight of the term region → expression → region."""
    rec_then_reg: Weight = 0.5
    """Weight of the term expression → region → expression."""
    self_training: Weight = 0.4
    """Weight of self-training: the model's own expressions that lead back to their region are targets."""
    start: Fraction = 0.25
    """Fraction of the optimiser steps before the cycle begins."""
    ramp: Fraction = 0.1
    """Fraction of the optimiser steps over which its weights rise from 0."""
    teacher: Fraction | None = 0.99
    """Decay of the averaged weights that make the pseudo-labels, or are the reference; null: the newest weights."""
    samples: Count = 6
    """Answers that are sampled for a region."""
    temperature: Weight = 1.0
    """Temperature of these samples."""
    min_iou: Fraction = 0.5
    """IoU from which a box counts as its region."""
    refresh: Count = 50
    """Optimiser steps from one update of the pseudo-labels to the next."""
    images: Count = 96
    """Images that get new pseudo-labels in an update."""
    kept: Count = 384
    """Images with the newest pseudo-labels, which are trained on."""
    instructions: Count = 4
    """The cycle's instructions of an image, at most; they replace others, those of the same task first."""
    max_tokens: Count = 30
    """Tokens of an expression, at most; truncated ones do not count."""
    regions: Count = 2
    """Regions of an image that are described; mode reward only."""
    kl: Weight = 0.02
    """Weight of the KL divergence from the reference; mode reward only."""

    @model_validator(mode="after")
    def _groups_can_be_compared(self) -> Self:
        if self.mode == "reward" and self.samples < 2:
            raise ValueError("mode reward compares answers to one question: set samples to 2 or more")
        if self.mode == "reward" and self.kl > 0 and self.teacher is None:
            raise ValueError("kl needs a reference: set teacher (1.0: the weights as the cycle begins) or kl to 0")
        return self


def check_tasks(names: Iterable[str]) -> None:
    """Raises ValueError if a name is no task."""
    if unknown := sorted({*names} - {*TASK_NAMES}):
        raise ValueError(f"unknown {', '.join(unknown)}: choose from {', '.join(TASK_NAMES)}")


class TrainSettings(OptimiserSettings):
    """Phase 2: all tasks and the cycle. Shared settings that it does not set have the value of `optimiser`."""

    tasks: dict[str, Weight] = {"rec_box": 3, "rec_keypoints": 0.5, "rec_mask": 0.4, "reg_class": 2, "reg_caption": 2}
    """Sampling weight of each task; 0: the task is left out."""
    described_images: Fraction = 0.5
    """Fraction of an optimiser step's images, at least, that have a described region, if there are any."""
    cycle: CycleSettings = CycleSettings()

    @field_validator("tasks")
    @classmethod
    def _tasks_exist(cls, tasks: dict[str, float]) -> dict[str, float]:
        check_tasks(tasks)
        return tasks

    @model_validator(mode="after")
    def _one_task_has_a_weight(self) -> Self:
        if not any(self.tasks.values()):
            raise ValueError("tasks: none has a weight above 0: name one, such as {rec_box: 3}")
        return self


class EvaluateSettings(Described):
    """The evaluation on held-out images."""

    splits: Annotated[tuple[str, ...], Field(min_length=1), AfterValidator(_are_different)] = ("test",)
    """Splits of the data to evaluate on; reported together and separately."""
    max_images: Count = 200
    """Images of each split, at most."""
    tasks: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    """Tasks to evaluate; null: all."""
    model: Address | None = None
    """The model to evaluate: models:/NAME@ALIAS, models:/NAME/VERSION or a folder; null: those of this project."""
    include_activate: bool = True
    """Evaluate the model of phase 1 too."""
    zero_shot: Address | None = None
    """An untrained checkpoint to evaluate as it is, beside the others: a folder or a name of the hub; null: none."""
    protocol: Literal["strict", "vilam-oracle"] = "strict"
    """strict, or vilam-oracle, which also reports the best of all templates (docs/evaluation.md)."""
    dialogue: bool = False
    """Ask for the category of each predicted box in a second turn."""
    gallery: Count = 12
    """Pictures of each task in reports/gallery; the page of the report shows all answers."""
    batch_size: Count = 64
    """Questions of a batch."""
    processes: Count = 1
    """Processes that answer."""
    threads: Number = 0
    """Threads of each process; 0: torch decides."""
    bootstrap: Count = 1000
    """Resamples behind each 95 % interval."""

    @field_validator("tasks")
    @classmethod
    def _tasks_exist(cls, tasks: tuple[str, ...] | None) -> tuple[str, ...] | None:
        check_tasks(tasks or ())
        return tasks


class RegisterSettings(Described):
    """The gate: a new model becomes champion if no champion so far did better on the same test data."""

    model_name: Annotated[str, Field(min_length=1)] = "vilam"
    """Name in the registry."""
    primary: str = "rec_box/acc_0.5"
    """The metric that must not be below that of any champion so far."""
    guards: dict[str, Weight] = {"reg_class/accuracy": 0.02, "reg_caption/cider": 0.1}
    """Metrics that may be below the best champion's so far by this much, at most."""

    @model_validator(mode="after")
    def _strict_metrics_decide(self) -> Self:
        if chosen := [name for name in (self.primary, *self.guards) if "oracle" in name]:
            raise ValueError(f"{chosen[0]} is chosen by the truth: name a strict metric")
        return self


class Settings(Described):
    """All of params.yaml."""

    seed: Annotated[int, Field(ge=0, lt=2**63)] = 42
    """Seed of everything that is random; below 2 to the power of 63."""
    prepare: PrepareSettings = PrepareSettings()
    synthesize: SynthesizeSettings = SynthesizeSettings()
    model: ModelSettings = ModelSettings()
    optimiser: SharedOptimiserSettings = SharedOptimiserSettings()
    activate: ActivateSettings = ActivateSettings()
    train: TrainSettings = TrainSettings()
    evaluate: EvaluateSettings = EvaluateSettings()
    register_: Annotated[RegisterSettings, Field(alias="register")] = RegisterSettings()

    @field_validator(*PHASES)
    @classmethod
    def _share_an_optimiser(cls, own: OptimiserSettings, others: ValidationInfo) -> OptimiserSettings:
        shared = others.data.get("optimiser")  # missing if it is invalid itself
        return own.completed(shared) if shared else own

    @model_validator(mode="after")
    def _learning_rates_fall(self) -> Self:
        for name in PHASES:
            phase: OptimiserSettings = getattr(self, name)
            if phase.final_learning_rate > phase.learning_rate:
                raise ValueError(
                    f"{name}.final_learning_rate {phase.final_learning_rate:g} is above its learning_rate "
                    f"{phase.learning_rate:g}: set both"
                )
        return self

    @model_validator(mode="after")
    def _soft_expressions_are_packed(self) -> Self:
        if self.model.checkpoint is not None and self.train.cycle.mode == "soft":
            raise ValueError("train.cycle.mode soft is for a model composed of parts: set model.checkpoint to null")
        return self
