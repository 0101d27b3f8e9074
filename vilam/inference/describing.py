"""Words for regions that nobody described, from a model that is asked for them and then held to them.

Of each region the model draws several expressions; those are kept by which it finds its way back to the region, and to
no other. Batches of images are dealt out to the processes in turn and each draw has a seed of its own, so that the
words are the same however many processes share the work.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from io import StringIO
from pathlib import Path

import numpy as np
import torch

from vilam.config import Settings, SynthesizeSettings
from vilam.data.descriptions import BINS, Descriptions, iou_bin, joined
from vilam.data.records import Expression, ImageRecord, Provenance, Region
from vilam.data.store import RecordStore
from vilam.inference.answering import autocast
from vilam.inference.round_trip import Drawing, Traveller, Trip
from vilam.inference.teacher import Teacher
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


def describe(teacher: Teacher, folder: Path, regions: Wordless, settings: Settings) -> Descriptions | None:
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
        model = trained.model.to(_device(processes)).eval()
        for ids in _shown(_share(list(regions), own.batch_size, processes), processes):
            places = [(i, region) for i, image_id in enumerate(ids) for region in regions[image_id]]
            with autocast(model, precision("auto")):
                trips = traveller.go_round(model, [store[image_id] for image_id in ids], places, drawing)
            for (i, region), made in zip(places, trips, strict=True):
                found.append(judge((ids[i], region.region_id), made, teacher.version, own))
        gathered = processes.gather(joined(found))
    return joined(gathered) if gathered else None


def judge(place: tuple[str, str], trips: Sequence[Trip], version: str, settings: SynthesizeSettings) -> Descriptions:
    """What is kept of the samples of one region (image and region id), and their tally.

    Kept is what returns to the region and to no other; of words that differ in case, punctuation or a first article
    only the most confident, and of all only as many as are asked about.
    """
    tally = np.zeros((BINS, 2), dtype=np.int64)
    kept: dict[str, Expression] = {}
    for trip in sorted(trips, key=lambda trip: -trip.confidence):
        returns = trip.returns(settings.min_iou)
        tally[iou_bin(trip.found.iou)] += (1, returns)
        if returns:
            provenance = Provenance(version, trip.confidence, trip.found.iou)
            kept.setdefault(normalised(trip.words), Expression(trip.words, "free", "model", provenance))
    words = tuple(kept.values())[: settings.expressions_per_region]
    return Descriptions(version, 1, {place: words} if words else {}, tally)


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


def _device(processes: Team) -> torch.device:
    device = best_device()
    return torch.device("cuda", processes.rank % torch.cuda.device_count()) if device.type == "cuda" else device
