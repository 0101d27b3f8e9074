"""Words for regions that nobody described, from a model that is asked for them and then held to them.

Of each region the model draws several expressions; those are kept by which it finds its way back to the region, and to
no other, or by a shorter form of which it does. Batches of images are dealt out to the processes in turn and each draw
has a seed of its own, so that the words are the same however many processes share the work.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from io import StringIO
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from vilam.config import Settings
from vilam.data.descriptions import BINS, Descriptions, iou_bin, joined
from vilam.data.records import Expression, ImageRecord, Provenance, Region
from vilam.data.store import RecordStore
from vilam.inference.addresses import Addressed
from vilam.inference.answering import autocast
from vilam.inference.rewording import ranked, reworded
from vilam.inference.round_trip import Drawing, Traveller, Trip
from vilam.launch import Team, team
from vilam.models.device import best_device, precision
from vilam.progress import Progress
from vilam.tasks.reg_caption import normalised

Wordless = Mapping[str, Sequence[Region]]
"""The regions of each image (by its id) that nobody described."""


def wordless(records: Iterable[ImageRecord]) -> dict[str, list[Region]]:
    """The regions of the split train that have no expression; those of held-out images are left as they are."""
    found: dict[str, list[Region]] = {}
    for record in records:
        regions = [region for region in record.regions if not region.expressions]
        if regions and record.split == "train":
            found[record.image_id] = regions
    return found


def describe(teacher: Addressed, folder: Path, regions: Wordless, settings: Settings) -> Descriptions | None:
    """Words for the ``regions`` of the data set in ``folder``, from all processes; None in all but the first.

    Raises VilamError where the teacher or the data set is damaged.
    """
    own = settings.synthesize
    if own.threads:
        torch.set_num_threads(own.threads)
    trained, store = teacher.open(), RecordStore(folder, "train")
    traveller, found = Traveller(trained.tokenizer, store.card), [Descriptions(teacher.version)]
    drawing = Drawing(own.samples, own.temperature, own.max_words, settings.seed)
    with team() as processes:
        model = trained.model.to(best_device(processes.rank)).eval()
        model.settle(precision("auto"))
        for ids in _shown(_share(list(regions), own.batch_size, processes), processes):
            places = [(i, region) for i, image_id in enumerate(ids) for region in regions[image_id]]
            with autocast(model, precision("auto")):
                records = [store[image_id] for image_id in ids]
                said = traveller.go_round(model, records, places, drawing)
                tried = reworded(traveller, model, records, places, said, own.min_iou, own.max_words)
            for (i, region), samples, trips in zip(places, said, tried, strict=True):
                best = ranked(trips, samples, region.category, own.min_iou)
                words = kept(best, teacher.version, own.expressions_per_region)
                told = {(ids[i], region.region_id): words} if words else {}
                found.append(Descriptions(teacher.version, 1, told, counted(samples, own.min_iou)))
        gathered = processes.gather(joined(found))
    return joined(gathered) if gathered else None


def counted(samples: Sequence[Trip], min_iou: float) -> NDArray[np.int64]:
    """Samples by the IoU of where they end, and those of them that return: a tally (BINS, 2)."""
    tally = np.zeros((BINS, 2), dtype=np.int64)
    for trip in samples:
        tally[iou_bin(trip.found.iou)] += (1, trip.returns(min_iou))
    return tally


def kept(best: Sequence[Trip], version: str, count: int) -> tuple[Expression, ...]:
    """The first ``count`` expressions; of those that differ in case, punctuation or a first article only the first."""
    distinct: dict[str, Expression] = {}
    for trip in best:
        provenance = Provenance(version, trip.confidence, trip.found.iou)
        distinct.setdefault(normalised(trip.words), Expression(trip.words, "free", "model", provenance))
    return tuple(distinct.values())[:count]


def _share(ids: Sequence[str], size: int, processes: Team) -> list[Sequence[str]]:
    """The batches of images of one process: every so many-th of all, so that each batch is the same for any number."""
    batches = [ids[start : start + size] for start in range(0, len(ids), size)]
    return batches[processes.rank :: processes.size]


def _shown(batches: Sequence[Sequence[str]], processes: Team) -> Iterator[Sequence[str]]:
    """The batches, with a bar of the images that the first process has done."""
    stream = None if processes.rank == 0 else StringIO()
    with Progress(sum(map(len, batches)), "describe", "images", stream=stream) as progress:
        for batch in batches:
            yield batch
            progress.advance(len(batch))
