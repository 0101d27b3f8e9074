"""What the run of some settings needs of each process, computed without weights and on any machine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from vilam.config import OptimiserSettings, Settings
from vilam.errors import VilamError
from vilam.inference.model import Model
from vilam.layout import Layout
from vilam.models.device import precision
from vilam.models.hf.model import HFModel
from vilam.models.interface import GroundingModel
from vilam.planning.building import NF4, in_four_bits, pretended_model
from vilam.planning.material import Material, largest_rows, open_material
from vilam.planning.pretence import Pretence
from vilam.planning.sharding import FLOAT, Sharding
from vilam.planning.step import run_step
from vilam.tasks import ACTIVATION
from vilam.training.batching import Batch, collate
from vilam.training.engine import deepspeed_config
from vilam.training.sampling import InstructionSampler


@dataclass(frozen=True, slots=True)
class Plan:
    """Of one process and its largest step; memory in bytes.

    copies: ZeRO's own of the weights that a process updates. saved: by the forward pass for the backward pass, logits
    among it. backward: the peak of the forward and the backward pass, with all above; step: that of averaging gradients
    and of the optimiser. flops: floating-point operations of both passes.
    """

    phase: str
    data: str
    precision: str
    processes: int
    zero_stage: int
    pictures: int
    instructions: int
    picture_tokens: int
    tokens: int
    parameters: int
    trained: int
    weights: int
    gradients: int
    optimiser: int
    copies: int
    teacher: int
    inputs: int
    saved: int
    logits: int
    backward: int
    step: int
    flops: int

    @property
    def peak(self) -> int:
        """The most that the process holds at once."""
        return max(self.backward, self.step)


def make_plan(settings: Settings, root: Path, phase: str, size: tuple[int, int]) -> Plan:
    """The plan of a phase, activate or train; size: of pictures (width, height) if no data is prepared.

    Raises VilamError if the settings make no model or no batch.
    """
    own: OptimiserSettings = getattr(settings, phase)
    if own.batch_size % own.processes:
        raise VilamError(f"batch_size {own.batch_size} does not divide over {own.processes} processes")
    sharding = Sharding.of(deepspeed_config(own, root), own.processes)
    dtype = precision(own.precision)
    pretence = Pretence()
    material = open_material(settings, Layout(root), size)
    network, tokenizer = pretended_model(settings.model, material.texts(), root, pretence)
    with pretence:
        network.cast_frozen(dtype)
    if own.gradient_checkpointing:
        network.enable_gradient_checkpointing()
    rows = largest_rows(material, own, sampler_of(settings, material, phase))
    batch = collate(Model.for_data(network, tokenizer, material.card), rows.images, rows.examples)
    picture_tokens = _picture_tokens(network, batch, pretence)
    found = run_step(network, batch, own, dtype, sharding, pretence)
    sizes = [weight.numel() for weight in network.parameters() if weight.requires_grad]
    trained, weights = sum(sizes), _weights(network)
    teacher = FLOAT * trained if phase == "train" and _has_teacher(settings) else 0
    held = sharding.weights(weights) + sharding.optimiser(trained) + sharding.copies(trained) + teacher
    floats = max((2 * weight.numel() for weight in in_four_bits(network)), default=0)  # one matrix at a time, in bf16
    return Plan(
        phase=phase,
        data=material.source,
        precision=str(dtype).removeprefix("torch."),
        processes=own.processes,
        zero_stage=sharding.stage,
        pictures=len(rows.images),
        instructions=sum(map(len, rows.examples)),
        picture_tokens=picture_tokens,
        tokens=_tokens(network, batch, picture_tokens),
        parameters=sum(weight.numel() for weight in network.parameters()),
        trained=trained,
        weights=sharding.weights(weights),
        gradients=FLOAT * trained,
        optimiser=sharding.optimiser(trained),
        copies=sharding.copies(trained),
        teacher=teacher,
        inputs=found.inputs,
        saved=found.saved,
        logits=found.logits,
        backward=held + sharding.gathered(weights) + floats + found.peak,
        step=held + sharding.gradients_at_step(trained, max(sizes)),
        flops=found.flops,
    )


def sampler_of(settings: Settings, material: Material, phase: str) -> InstructionSampler:
    """The sampler of a phase."""
    own: OptimiserSettings = getattr(settings, phase)
    is_first = phase == "activate"
    tasks: Mapping[str, float] = {ACTIVATION.name: 1.0} if is_first else settings.train.tasks
    described = 0.0 if is_first else settings.train.described_images
    return InstructionSampler(material.instructions, tasks, own.instructions_per_image, settings.seed, described)


def _has_teacher(settings: Settings) -> bool:
    cycle = settings.train.cycle
    return cycle.mode != "none" and cycle.teacher is not None


def _weights(network: GroundingModel) -> int:
    """Bytes of all weights and buffers."""
    small = {id(weight) for weight in in_four_bits(network)}
    weights = sum(one.numel() * (NF4 if id(one) in small else one.element_size()) for one in network.parameters())
    return int(weights) + sum(one.numel() * one.element_size() for one in network.buffers())


@torch.no_grad()
def _picture_tokens(network: GroundingModel, batch: Batch, pretence: Pretence) -> int:
    """Tokens of a picture in the language model, on average."""
    if not isinstance(network, HFModel):
        with pretence:
            return int(network.encode_images(pretence.faked(batch.inputs["pixel_values"])).shape[1])
    config = network.config
    names = ("image_token_id", "image_token_index")
    token = next((int(getattr(config, name)) for name in names if getattr(config, name, None) is not None), -1)
    ids = batch.inputs["input_ids"]
    return round(int(torch.eq(ids, token).sum()) / len(ids))


def _tokens(network: GroundingModel, batch: Batch, picture_tokens: int) -> int:
    """Tokens that the language model reads, with padding."""
    ids = [batch.inputs[name] for name in ("input_ids", "tails") if name in batch.inputs]
    pictures = 0 if isinstance(network, HFModel) else picture_tokens * len(ids[0])
    return pictures + sum(one.numel() for one in ids)
