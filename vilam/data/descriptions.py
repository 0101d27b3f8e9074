"""What a model said of the regions that nobody described: the words that were kept, and how all of them fared."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from vilam.data.records import Expression, ImageRecord, Region

BINS = 10
"""Of the histogram of round-trip IoU, each a tenth wide; the last one holds 1 too."""


@dataclass(frozen=True, slots=True)
class Descriptions:
    """Words for regions of the split train, and the tally of the samples they were chosen from.

    model: the version of the model that wrote them, "" where none was asked. num_regions: that it was asked about.
    expressions: by image and region id, those that were kept, the most confident first. tally: (BINS, 2), samples by
    round-trip IoU: how many were drawn, and how many of them were accepted.
    """

    model: str = ""
    num_regions: int = 0
    expressions: dict[tuple[str, str], tuple[Expression, ...]] = field(default_factory=dict)
    tally: NDArray[np.int64] = field(default_factory=lambda: np.zeros((BINS, 2), dtype=np.int64))

    def told(self, record: ImageRecord) -> ImageRecord:
        """The record with these words for its regions; one of another split than train stays as it is."""
        if record.split != "train" or not self.expressions:
            return record
        return replace(record, regions=tuple(self._told(record.image_id, region) for region in record.regions))

    def _told(self, image_id: str, region: Region) -> Region:
        words = self.expressions.get((image_id, region.region_id), ())
        return replace(region, expressions=words) if words and not region.expressions else region

    def metrics(self) -> dict[str, Any]:
        """The model, the counts, and the shares of samples that were accepted and of regions that got words."""
        drawn, accepted = (int(count) for count in self.tally.sum(axis=0))
        return {
            "model": self.model,
            "num_regions": self.num_regions,
            "num_samples": drawn,
            "num_expressions": sum(map(len, self.expressions.values())),
            "accepted_samples": round(accepted / max(drawn, 1), 4),
            "described_regions": round(len(self.expressions) / max(self.num_regions, 1), 4),
        }

    def histogram(self) -> pd.DataFrame:
        """Samples by round-trip IoU: columns iou ("0.5-0.6"), num_samples, num_accepted."""
        names = [f"{i / BINS:.1f}-{(i + 1) / BINS:.1f}" for i in range(BINS)]
        return pd.DataFrame({"iou": names, "num_samples": self.tally[:, 0], "num_accepted": self.tally[:, 1]})


def joined(parts: Iterable[Descriptions]) -> Descriptions:
    """What several processes found, each of other images, as one."""
    found = list(parts)
    expressions = {place: words for part in found for place, words in part.expressions.items()}
    tally = np.sum([part.tally for part in found], axis=0)
    return Descriptions(found[0].model, sum(part.num_regions for part in found), expressions, tally)


def iou_bin(iou: float) -> int:
    """The row of the tally that an IoU (0..1) counts in."""
    return min(int(iou * BINS), BINS - 1)
