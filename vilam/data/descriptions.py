"""Expressions that a model generated for regions without any, and counts of all samples."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from vilam.data.records import TRAIN, Expression, ImageRecord, Region

BINS = 10
"""Bins of the histogram of round-trip IoU, each a tenth wide; the last one includes 1."""


@dataclass(frozen=True, slots=True)
class Descriptions:
    """Generated expressions for regions of the split train, and counts of the samples they were chosen from.

    model: the version of the model that generated them, "" if there was none. num_regions: regions that it described.
    expressions: those that were kept, by image and region id, the most confident first. tally: (BINS, 2), for each bin
    of round-trip IoU the number of samples and the number of accepted ones.
    """

    model: str = ""
    num_regions: int = 0
    expressions: dict[tuple[str, str], tuple[Expression, ...]] = field(default_factory=dict)
    tally: NDArray[np.int64] = field(default_factory=lambda: np.zeros((BINS, 2), dtype=np.int64))

    def apply(self, record: ImageRecord) -> ImageRecord:
        """The record with these expressions for its regions without any; records of other splits stay unchanged."""
        if record.split != TRAIN or not self.expressions:
            return record
        return replace(record, regions=tuple(self._described(record.image_id, region) for region in record.regions))

    def _described(self, image_id: str, region: Region) -> Region:
        found = self.expressions.get((image_id, region.region_id), ())
        return replace(region, expressions=found) if found and not region.expressions else region

    def metrics(self) -> dict[str, Any]:
        """The model, the counts, and the fractions of accepted samples and of regions that got an expression."""
        sampled, accepted = (int(count) for count in self.tally.sum(axis=0))
        return {
            "model": self.model,
            "num_regions": self.num_regions,
            "num_samples": sampled,
            "num_expressions": sum(map(len, self.expressions.values())),
            "accepted_samples": round(accepted / max(sampled, 1), 4),
            "described_regions": round(len(self.expressions) / max(self.num_regions, 1), 4),
        }

    def histogram(self) -> pd.DataFrame:
        """Samples by round-trip IoU: columns iou ("0.5-0.6"), num_samples, num_accepted; no rows without samples."""
        names = [f"{i / BINS:.1f}-{(i + 1) / BINS:.1f}" for i in range(BINS)]
        table = pd.DataFrame({"iou": names, "num_samples": self.tally[:, 0], "num_accepted": self.tally[:, 1]})
        return table if self.tally.any() else table.head(0)


def merged(parts: Iterable[Descriptions]) -> Descriptions:
    """The descriptions of several processes as one; each process described different images."""
    found = list(parts)
    expressions = {region: kept for part in found for region, kept in part.expressions.items()}
    tally = np.sum([part.tally for part in found], axis=0)
    return Descriptions(found[0].model, sum(part.num_regions for part in found), expressions, tally)


def iou_bin(iou: float) -> int:
    """The row of the tally in which an IoU (0..1) is counted."""
    return min(int(iou * BINS), BINS - 1)
