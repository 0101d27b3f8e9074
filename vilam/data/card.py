"""The card of a data set, card.json: written last, beside the shards, and again into the folder of a trained model."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from vilam.data.records import DatasetCard, KeypointSchema, Levels
from vilam.errors import VilamError
from vilam.files import recover, write_atomically

CARD = "card.json"


def read_card(folder: Path) -> DatasetCard:
    """The card of a data set; raises VilamError if it is missing or cannot be read."""
    recover(folder)
    path = folder / CARD
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        keypoints = {name: _keypoint_schema(one) for name, one in content.pop("keypoints").items()}
        categories, splits, licences = (tuple(content.pop(name)) for name in ("categories", "splits", "licences"))
        content["unseen"] = tuple(content.get("unseen", ()))
        content["levels"] = Levels(*content["levels"]) if content.get("levels") else None
        return DatasetCard(categories=categories, keypoints=keypoints, splits=splits, licences=licences, **content)
    except FileNotFoundError:
        raise VilamError(
            f"{path}: not found: the data set is missing or half written: run prepare again, or take an "
            "experiment over (dvc exp apply)"
        ) from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise VilamError(f"{path}: not a data set's card ({error!r}): run prepare again") from None


def write_card(card: DatasetCard, folder: Path) -> None:
    """Write the card into a folder: the file is complete or absent at any moment."""
    write_atomically(folder / CARD, json.dumps(asdict(card), indent=2) + "\n")


def _keypoint_schema(content: dict[str, Any]) -> KeypointSchema:
    bones = tuple((int(start), int(end)) for start, end in content["skeleton"])
    return KeypointSchema(tuple(content["names"]), bones, tuple(content["sigmas"]))
