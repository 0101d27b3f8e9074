"""The model that a setting names: a version of the registry, or a model folder."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open

from vilam.config import ModelSettings
from vilam.errors import VilamError
from vilam.models.build import Trained, load_trained
from vilam.models.stock_folder import ABOUT


@dataclass(frozen=True, slots=True)
class Addressed:
    """A model folder, and what was found there when it was asked for.

    setting: that names it, with its value. version: "models:/vilam/3" also where an alias was named, or the folder and
    a sum of its weights.
    """

    setting: str
    version: str
    folder: Path

    def open(self) -> Trained:
        """Load it; raises VilamError where it is missing or damaged."""
        try:
            return load_trained(self.folder)
        except VilamError as error:
            raise VilamError(f"{self.setting}: {error}") from error


def find_model(setting: str, address: str, root: Path, same_coordinates: ModelSettings | None = None) -> Addressed:
    """The model that a setting names in the project ``root``, before it is loaded, and before processes are started.

    same_coordinates: settings of the model that learns from it, which must write coordinates in the same form.
    Raises VilamError that names the setting where there is no such model, its weights are cut off, or it does not.
    """
    name = f"{setting} {address}"
    try:
        version, folder = _registered(address, root) if address.startswith("models:/") else _folder(address, root)
        _check_weights(folder)
        if same_coordinates is not None:
            _check_coordinates(folder, same_coordinates)
    except VilamError as error:
        raise VilamError(f"{name}: {error}") from error
    return Addressed(name, version, folder)


def _registered(address: str, root: Path) -> tuple[str, Path]:
    from vilam.tracking import download_model, pinned

    version = pinned(address, root)
    return version, download_model(version, root)


def _folder(address: str, root: Path) -> tuple[str, Path]:
    folder = root / address
    return f"{address} sha256:{_fingerprint(folder)}", folder


def _fingerprint(folder: Path) -> str:
    """The first digits of the SHA-256 of a model folder's weights; raises VilamError where there are none."""
    digest = hashlib.sha256()
    for file in _weights(folder):
        with file.open("rb") as stream:
            hashlib.file_digest(stream, lambda: digest)
    return digest.hexdigest()[:12]


def _check_weights(folder: Path) -> None:
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


def _check_coordinates(folder: Path, settings: ModelSettings) -> None:
    """Raise VilamError where a model writes coordinates in another form than params.yaml has the next one do.

    Whole models of transformers, either of the two, have a form of their own, which no words hold.
    """
    if settings.checkpoint is not None or (folder / ABOUT).is_file():
        return
    try:
        bins = json.loads((folder / "config.json").read_text(encoding="utf-8"))["coordinate_bins"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise VilamError(f"{folder}: no config.json of a model of vilam ({error!r}): train or copy it again") from None
    form = "text" if bins is None else "token"
    if form != settings.coordinates:
        raise VilamError(f"its coordinates are {form}, model.coordinates is {settings.coordinates}: make them the same")
    if bins is not None and bins != settings.coordinate_bins:
        wanted = f"model.coordinate_bins is {settings.coordinate_bins}"
        raise VilamError(f"it has {bins} coordinate bins, {wanted}: make them the same")
