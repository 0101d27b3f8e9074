"""What a run trains on: the prepared data or, without any, generated scenes as pictures of a given size."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from io import BytesIO

from PIL import Image

from vilam.config import OptimiserSettings, Settings
from vilam.cycle.examples import Example
from vilam.data.card import CARD, read_card
from vilam.data.instructions import MANIFEST, Instruction, read_instructions
from vilam.data.records import TRAIN, DatasetCard
from vilam.data.scenes import CATEGORIES, LICENCE, generate_scene, keypoint_schemas
from vilam.data.store import RecordStore
from vilam.inference.answering import Records
from vilam.layout import Layout
from vilam.models.vilam.tokenization import add_answer_prefix
from vilam.tasks import ACTIVATION, TASKS
from vilam.tasks.synthesis import render
from vilam.training.loading import Rows
from vilam.training.sampling import InstructionSampler

STEPS = 200
"""The first steps of a run, among which the largest is looked for."""
PIXELS_OF_A_LETTER = 300
"""Roughly: some 1,000 pixels are a token, and so are some 4 letters. It only ranks steps."""
TEXTS = 20_000
"""Instructions from which a new tokenizer learns its words: fewer than in training, which change its size little."""


@dataclass(frozen=True, slots=True)
class Material:
    """Records and the instructions about them. source: what they are, in words."""

    source: str
    card: DatasetCard
    records: Records
    instructions: Sequence[Instruction]

    def texts(self) -> Iterator[str]:
        """Questions and answers."""
        for one in self.instructions[:TEXTS]:
            yield one.question
            yield add_answer_prefix(one.answer)


def open_material(settings: Settings, layout: Layout, size: tuple[int, int]) -> Material:
    """The training split of the prepared data, or scenes of a size (width, height); VilamError if data are damaged."""
    if not (layout.records / CARD).is_file() or not (layout.instructions / MANIFEST).is_file():
        return _scenes(settings, size)
    card = read_card(layout.records)
    found = list(read_instructions(layout.instructions, TRAIN))
    return Material(f"{card.name}, as prepared", card, RecordStore(layout.records, TRAIN), found)


def _scenes(settings: Settings, size: tuple[int, int]) -> Material:
    card = DatasetCard("scenes", tuple(CATEGORIES), keypoint_schemas(), (TRAIN,), (LICENCE,), {})
    own = settings.prepare.scenes.image_size
    count = 4 * max(settings.train.batch_size, settings.activate.batch_size)
    scenes = [generate_scene(settings.seed, number, TRAIN, own) for number in range(count)]
    asked = [*TASKS.values(), ACTIVATION]
    per_region = settings.synthesize.expressions_per_region
    found = [one for scene in scenes for one in render(scene, card, asked, per_region, settings.seed)]
    records = {scene.image_id: replace(scene, image=_resized(scene.image, size)) for scene in scenes}
    return Material(f"generated scenes of {size[0]} x {size[1]} pixels: no data is prepared", card, records, found)


def _resized(picture: bytes, size: tuple[int, int]) -> bytes:
    buffer = BytesIO()
    Image.open(BytesIO(picture)).resize(size).save(buffer, "PNG")
    return buffer.getvalue()


def largest_rows(material: Material, own: OptimiserSettings, sampler: InstructionSampler) -> Rows:
    """What a process trains on in the largest of the first steps by pixels and letters; the cycle's is left out."""
    found: dict[int, list[tuple[str, list[Example]]]] = {}
    pixels: dict[str, int] = {}
    for step in range(min(STEPS, own.steps)):
        ids = sampler.image_ids(step, own.batch_size)
        for part in range(own.processes):
            rows = [(image_id, sampler.sample(image_id, step)) for image_id in ids[part :: own.processes]]
            found[sum(_size(material.records, image_id, examples, pixels) for image_id, examples in rows)] = rows
    largest = found[max(found)]
    return Rows([material.records[image_id].image for image_id, _ in largest], [examples for _, examples in largest])


def _size(records: Records, image_id: str, examples: Sequence[Example], pixels: dict[str, int]) -> int:
    if image_id not in pixels:
        record = records[image_id]
        pixels[image_id] = record.width * record.height
    letters = sum(len(each.instruction.question) + len(each.instruction.answer) for each in examples)
    return pixels[image_id] + PIXELS_OF_A_LETTER * letters
