"""The model card of a model folder, README.md as hubs show it: what it was made from and trained on, and its use."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import yaml
from torch import nn

from vilam.data.records import DatasetCard
from vilam.models.family import GroundingModel

CARD = "README.md"
USE = """\
```python
from PIL import Image
from vilam.inference.predictor import Predictor

predictor = Predictor.from_pretrained("path/to/this/folder")
predictor.locate(Image.open("picture.png"), "the red circle").box_xyxy  # pixels of the picture
predictor.describe(Image.open("picture.png"), (10, 20, 110, 90)).words
```
"""


def model_card(model: GroundingModel, data: DatasetCard, info: Mapping[str, Any]) -> str:
    """The card's text: origin and licence of each part's weights, what was trained, the data set, and how to ask.

    info: of the training; ``start`` is the trained model that it went on from, if any.
    """
    head = {"library_name": "transformers", "pipeline_tag": "image-text-to-text", "tags": ["vilam", "visual-grounding"]}
    lines = [
        "---",
        yaml.safe_dump(head, sort_keys=False).rstrip(),
        "---",
        "",
        "# A ViLaM model",
        "",
        "Finds what words mean in a picture (box, keypoints, outline) and says what a box holds (class, expression).",
        model.manner(),
        "",
        "| part | weights from | licence | SHA-256 | parameters | trained |",
        "|---|---|---|---|---:|---:|",
        *(_row(part, model.origin(part), weights) for part, weights in model.parts().items()),
        "",
        f"Trained on {data.name} ({', '.join(data.licences)}): {_counts(data)}.",
        *([f"It went on from {info['start']}, which was trained before."] if "start" in info else []),
        "",
        USE,
    ]
    return "\n".join(lines)


def _row(part: str, origin: Mapping[str, str], weights: Iterable[nn.Parameter]) -> str:
    source = origin.get("title", origin.get("checkpoint", "nothing"))
    if package := origin.get("package"):
        source += f" ({package})"
    sizes = [(each.numel(), each.requires_grad) for each in weights]
    cells = [part, source, origin.get("licence", ""), origin.get("sha256", "")]
    return f"| {' | '.join(cells)} | {sum(size for size, _ in sizes):,} | {sum(size for size, own in sizes if own):,} |"


def _counts(data: DatasetCard) -> str:
    counts = data.counts.get("train", {})
    return f"{counts.get('num_images', 0):,} images, {counts.get('num_regions', 0):,} regions"
