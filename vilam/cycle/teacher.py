"""The teacher of `synthesize`: a trained model writes expressions for regions without any, and round trips judge them.

The model samples several expressions for each region. An expression, or a shorter form of it, is kept if the
model finds the region from it and no other region. Each process takes one batch of images after another, and each
sample has a seed of its own, so the expressions are the same for any number of processes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from io import StringIO

import numpy as np
import torch
from numpy.typing import NDArray

from vilam.config import Settings
from vilam.cycle.round_trip import BatchRegion, RoundTrip, Sampling, make_round_trips
from vilam.cycle.shortening import ranked, with_other_forms
from vilam.data.descriptions import BINS, Descriptions, iou_bin, merged
from vilam.data.records import TRAIN, Expression, ImageRecord, Provenance, Region
from vilam.data.store import RecordStore
from vilam.inference.model import Model
from vilam.inference.resolve import ResolvedModel
from vilam.launch import Processes, process_group
from vilam.models.device import autocast, best_device, precision
from vilam.progress import Progress
from vilam.tasks.reg_caption import normalised

Undescribed = Mapping[str, Sequence[Region]]
"""The regions of each image (by its id) that have no expression."""


def undescribed(records: Iterable[ImageRecord]) -> dict[str, list[Region]]:
    """The regions of the split train that have no expression; those of held-out images stay as they are."""
    found: dict[str, list[Region]] = {}
    for record in records:
        regions = [region for region in record.regions if not region.expressions]
        if regions and record.split == TRAIN:
            found[record.image_id] = regions
    return found


def describe(
    teacher: ResolvedModel, store: RecordStore, regions: Undescribed, settings: Settings
) -> Descriptions | None:
    """Expressions for the ``regions`` of the images in ``store``, from all processes; None in all but the first.

    Raises VilamError if the teacher or the data set is damaged.
    """
    own = settings.synthesize
    if own.threads:
        torch.set_num_threads(own.threads)
    loaded = teacher.open()
    sampling = Sampling(own.samples, own.temperature, own.max_tokens, settings.seed)
    found = [Descriptions(teacher.version)]
    with process_group() as processes:
        network = loaded.network.to(best_device(processes.rank)).eval()
        network.cast_frozen(precision("auto"))
        model = Model.for_data(network, loaded.tokenizer, store.card)
        for ids in _with_progress(batches_of(list(regions), own.batch_size, processes), processes):
            chosen = [(i, region) for i, image_id in enumerate(ids) for region in regions[image_id]]
            with autocast(network, precision("auto")):
                records = [store[image_id] for image_id in ids]
                samples = make_round_trips(model, records, chosen, sampling)
                round_trips = with_other_forms(model, records, chosen, samples, own.min_iou, own.max_tokens)
            found += _descriptions(teacher.version, ids, chosen, samples, round_trips, settings)
        gathered = processes.all_gather(merged(found))
    return merged(gathered) if processes.rank == 0 else None


def _descriptions(
    version: str,
    ids: Sequence[str],
    regions: Sequence[BatchRegion],
    samples: Sequence[Sequence[RoundTrip]],
    round_trips: Sequence[Sequence[RoundTrip]],
    settings: Settings,
) -> Iterator[Descriptions]:
    """The kept expressions of each region, and the counts of its samples."""
    own = settings.synthesize
    for (i, region), of_region, tried in zip(regions, samples, round_trips, strict=True):
        best = ranked(tried, of_region, region.category, own.min_iou)
        words = kept(best, version, own.expressions_per_region)
        by_region = {(ids[i], region.region_id): words} if words else {}
        yield Descriptions(version, 1, by_region, counted(of_region, own.min_iou))


def counted(samples: Sequence[RoundTrip], min_iou: float) -> NDArray[np.int64]:
    """Counts of samples by the IoU of their answer, and of those that return: (BINS, 2)."""
    counts = np.zeros((BINS, 2), dtype=np.int64)
    for round_trip in samples:
        counts[iou_bin(round_trip.found.iou)] += (1, round_trip.returns(min_iou))
    return counts


def kept(best: Sequence[RoundTrip], version: str, count: int) -> tuple[Expression, ...]:
    """The first ``count`` expressions; of those that differ in case, punctuation or a first article only the first."""
    distinct: dict[str, Expression] = {}
    for round_trip in best:
        provenance = Provenance(version, round_trip.confidence, round_trip.found.iou)
        distinct.setdefault(normalised(round_trip.words), Expression(round_trip.words, "free", "model", provenance))
    return tuple(distinct.values())[:count]


def batches_of(ids: Sequence[str], size: int, processes: Processes) -> list[Sequence[str]]:
    """The batches of images of one process; each batch is the same for any number of processes."""
    batches = [ids[start : start + size] for start in range(0, len(ids), size)]
    return batches[processes.rank :: processes.size]


def _with_progress(batches: Sequence[Sequence[str]], processes: Processes) -> Iterator[Sequence[str]]:
    """The batches, with a progress bar of the images that the first process has done."""
    stream = None if processes.rank == 0 else StringIO()
    with Progress(sum(map(len, batches)), "describe", "images", stream=stream) as progress:
        for batch in batches:
            yield batch
            progress.advance(len(batch))
