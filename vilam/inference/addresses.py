"""The model that a setting names: a version of the registry, or a model folder."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open

from vilam.errors import VilamError


@dataclass(frozen=True, slots=True)
class Addressed:
    """A model folder, and what was found there when it was asked for.

    version: "models:/vilam/3" also where an alias was named, or the folder and a sum of its weights.
    """

    version: str
    folder: Path


def find_model(address: str, root: Path) -> Addressed:
    """The model of an address in the project ``root``, before it is loaded.

    Raises VilamError where there is none or its weights are cut off.
    """
    found = _registered(address, root) if address.startswith("models:/") else _folder(address, root)
    check_weights(found.folder)
    return found


def _registered(address: str, root: Path) -> Addressed:
    from vilam.tracking import download_model, pinned

    version = pinned(address, root)
    return Addressed(version, download_model(version, root))


def _folder(address: str, root: Path) -> Addressed:
    folder = root / address
    return Addressed(f"{address} sha256:{fingerprint(folder)}", folder)


def fingerprint(folder: Path) -> str:
    """The first digits of the SHA-256 of a model folder's weights; raises VilamError where there are none."""
    digest = hashlib.sha256()
    for file in _weights(folder):
        with file.open("rb") as stream:
            hashlib.file_digest(stream, lambda: digest)
    return digest.hexdigest()[:12]


def check_weights(folder: Path) -> None:
    """Raise VilamError where a file of weights is cut off or none; nothing is loaded."""
    for file in _weights(folder):
        try:
            with safe_open(file, "pt"):
                pass
        except (OSError, SafetensorError) as error:
            raise VilamError(f"{file}: damaged: {error}: train or copy it again") from None


def _weights(folder: Path) -> list[Path]:
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise VilamError(f"no model in {folder}: name a model folder such as models/train, or one of the registry")
    return files
