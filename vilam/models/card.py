"""The model card of a model folder (README.md, as hubs show it): origins, training data and use."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import yaml
from torch import nn

from vilam.data.records import DatasetCard
from vilam.models.interface import GroundingModel

CARD = "README.md"
USE = """\
```python
from PIL import Image
from vilam.inference.predictor import Predictor

predictor = Predictor.from_pretrained("path/to/this/folder")
predictor.locate(Image.open("image.png"), "the red circle").box_xyxy  # pixels of the image
predictor.describe(Image.open("image.png"), (10, 20, 110, 90)).words
```
"""


def model_card(model: GroundingModel, data: DatasetCard, info: Mapping[str, Any]) -> str:
    """The card's text: origin, licence and size of each part's weights, the data set, and an example.

    info: of the training; ``fine_tuned_from`` is the trained model from which it started, if any.
    """
    head = {"library_name": "transformers", "pipeline_tag": "image-text-to-text", "tags": ["vilam", "visual-grounding"]}
    lines = [
        "---",
        yaml.safe_dump(head, sort_keys=False).rstrip(),
        "---",
        "",
        "# A ViLaM model",
        "",
        "Finds the region of an expression (box, keypoints, mask), and describes a region (class, expression).",
        model.summary(),
        "",
        "| part | weights from | licence | SHA-256 | parameters | trained |",
        "|---|---|---|---|---:|---:|",
        *(_row(part, model.origin(part), weights) for part, weights in model.parts().items()),
        "",
        f"Trained on {data.name} ({', '.join(data.licences)}): {_counts(data)}.",
        *([f"Fine-tuned from {info['fine_tuned_from']}."] if "fine_tuned_from" in info else []),
        "",
        USE,
    ]
    return "\n".join(lines)


def _row(part: str, origin: Mapping[str, str], weights: Iterable[nn.Parameter]) -> str:
    source = origin.get("title", origin.get("checkpoint", "scratch"))
    if package := origin.get("package"):
        source += f" ({package})"
    sizes = [(weight.numel(), weight.requires_grad) for weight in weights]
    total, trained = sum(size for size, _ in sizes), sum(size for size, is_trained in sizes if is_trained)
    cells = [part, source, origin.get("licence", ""), origin.get("sha256", ""), f"{total:,}", f"{trained:,}"]
    return f"| {' | '.join(cells)} |"


def _counts(data: DatasetCard) -> str:
    counts = data.counts.get("train", {})
    return f"{counts.get('num_images', 0):,} images, {counts.get('num_regions', 0):,} regions"
