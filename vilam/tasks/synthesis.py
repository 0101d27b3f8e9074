"""Records to instructions: the questions about each region and their true answers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import product

from vilam.data.instructions import Instruction
from vilam.data.records import DatasetCard, Expression, ImageRecord, Region
from vilam.draws import number
from vilam.tasks.base import GroundingTask, GroupTask


def render(
    record: ImageRecord, card: DatasetCard, tasks: Iterable[GroundingTask], expressions_per_region: int, seed: int
) -> Iterator[Instruction]:
    """Yield the instructions of an image, region by region.

    A task that uses "every" expression has an instruction for each, up to ``expressions_per_region``; one that uses
    "one" or "none" has a single instruction. A hash of the seed, the task, the region and the expression chooses
    expressions and templates, so that they depend neither on the order of the records nor on the machine.
    """
    chosen_tasks = tuple(tasks)
    for region in record.regions:
        indices = _chosen(region, expressions_per_region, seed)
        for task in chosen_tasks:
            if task.applies(region, card):
                for index in _used(task, region, indices, seed):
                    yield _instruction(task, record, region, index, seed)


def render_groups(record: ImageRecord, tasks: Iterable[GroupTask], seed: int) -> Iterator[Instruction]:
    """Yield the instructions of an image's groups, one for each task; templates are chosen as in `render`."""
    for task, group in product(tasks, record.groups):
        template = number(seed, task.name, group.group_id, group.text) % len(task.templates)
        yield Instruction(
            instruction_id=f"{task.name}/{record.image_id}/{group.group_id}/0",
            task=task.name,
            split=record.split,
            image_id=record.image_id,
            region_id=group.group_id,
            question=task.question(template, record, group.text),
            answer=task.answer(record, group),
            template=template,
            expression=group.text,
            expression_kind=group.kind,
            expression_source=group.source,
        )


def _chosen(region: Region, count: int, seed: int) -> list[int]:
    """Indices of at most ``count`` expressions of a region, chosen by a hash."""
    indices = range(len(region.expressions))
    if len(indices) <= count:
        return list(indices)
    by_hash = sorted(indices, key=lambda index: _hash(seed, "chosen", region, region.expressions[index]))
    return sorted(by_hash[:count])


def _used(task: GroundingTask, region: Region, chosen: list[int], seed: int) -> list[int | None]:
    if task.uses == "none" or not chosen:
        return [None]
    if task.uses == "one":
        return [chosen[_hash(seed, task.name, region, None) % len(chosen)]]
    return list(chosen)


def _instruction(task: GroundingTask, record: ImageRecord, region: Region, index: int | None, seed: int) -> Instruction:
    expression = None if index is None else region.expressions[index]
    provenance = expression.provenance if expression else None
    template = _hash(seed, task.name, region, expression) % len(task.templates)
    return Instruction(
        instruction_id=f"{task.name}/{record.image_id}/{region.region_id}/{0 if index is None else index}",
        task=task.name,
        split=record.split,
        image_id=record.image_id,
        region_id=region.region_id,
        question=task.question(template, record, region, expression),
        answer=task.answer(record, region, expression, template),
        template=template,
        expression=expression.text if expression else "",
        expression_kind=expression.kind if expression else "",
        expression_source=expression.source if expression else "",
        expression_model=provenance.model if provenance else "",
        expression_confidence=provenance.confidence if provenance else None,
        expression_round_trip_iou=provenance.round_trip_iou if provenance else None,
    )


def _hash(seed: int, purpose: str, region: Region, expression: Expression | None) -> int:
    """A number below 2**64, the same on every machine and in every run."""
    return number(seed, purpose, region.region_id, expression.text if expression else "")
