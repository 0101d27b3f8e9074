"""Finds the model that an address names: a version of the MLflow registry, or a model folder."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from safetensors import SafetensorError, safe_open

from vilam.errors import VilamError
from vilam.files import recover
from vilam.inference.hub import download, is_hub_name
from vilam.layout import named
from vilam.models.hf import ABOUT
from vilam.tracking.lookup import find_registered

if TYPE_CHECKING:
    from vilam.config import ModelSettings
    from vilam.models.build import LoadedModel


COMPOSED = "vilam"
"""The model_type of a composed model."""


@dataclass(frozen=True, slots=True)
class ResolvedModel:
    """A model folder that exists.

    setting: the setting that names it, with its value. version: ``models:/vilam/3``, also if an alias was named, or
    the folder and a checksum of its weights.
    """

    setting: str
    version: str
    folder: Path

    def open(self) -> LoadedModel:
        """Loads it; raises VilamError if it is missing or damaged."""
        from vilam.models.build import load_model  # a command that needs the folder alone is faster without it

        try:
            return load_model(self.folder)
        except VilamError as error:
            raise VilamError(f"{self.setting}: {error}") from error


def resolve_model(
    setting: str, address: str, root: Path, same_coordinates: ModelSettings | None = None
) -> ResolvedModel:
    """The model that a setting names in the project ``root``; it is checked, but not loaded yet.

    same_coordinates: settings of a model that learns from it, which must write coordinates in the same form.
    Raises VilamError that names the setting if there is no such model, its weights are truncated, or its coordinates
    differ.
    """
    name = f"{setting} {address}"
    try:
        version, folder = _version_and_folder(address, root)
        _check_weights(folder)
        if same_coordinates is not None:
            _check_coordinates(folder, same_coordinates)
    except VilamError as error:
        raise VilamError(f"{name}: {error}") from error
    return ResolvedModel(name, version, folder)


def model_folder(source: str, root: Path) -> Path:
    """The folder of a model, downloaded from the registry of the project ``root`` or from the hub if it is none."""
    if source.startswith("models:/"):
        return registered_model(source, root)[1]
    return download(source) if is_hub_name(source, root) else Path(source)


def registered_model(address: str, root: Path) -> tuple[str, Path]:
    """The address by version number and the folder of a model in the registry of the project ``root``.

    Raises VilamError if there is no such model.
    """
    if (found := find_registered(address, root)) is not None:
        return found
    from vilam.tracking.registry import download_model, pinned

    version = pinned(address, root)
    return version, download_model(version, root)


def _version_and_folder(address: str, root: Path) -> tuple[str, Path]:
    if address.startswith("models:/"):
        return registered_model(address, root)
    folder = download(address) if is_hub_name(address, root) else root / named(root, address)
    recover(folder)
    digest = hashlib.sha256()
    for file in _weights(folder):
        with file.open("rb") as stream:
            hashlib.file_digest(stream, lambda: digest)
    return f"{address} sha256:{digest.hexdigest()[:12]}", folder


def _check_weights(folder: Path) -> None:
    """Raises VilamError if a file of weights is truncated or there is none."""
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
    """Raises VilamError if a model writes coordinates in another form than the settings ask for.

    A Hugging Face VLM, on either side, trained here or not, has a form of its own, and its expressions hold no
    coordinates.
    """
    if settings.checkpoint is not None or (folder / ABOUT).is_file():
        return
    from vilam.models.hf.conventions import convention_files  # an answer needs no settings

    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        model_type = str(config["model_type"])
        bins = config["coordinate_bins"] if model_type == COMPOSED else None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise VilamError(f"{folder}: no config.json of a model of vilam ({error!r}): train or copy it again") from None
    if model_type in convention_files(Path()):
        return
    if model_type != COMPOSED:
        own = f"configs/conventions/{model_type}.yaml"
        raise VilamError(f"how a {model_type} writes places is not known: write {own}, or name another model")
    form = "text" if bins is None else "token"
    if form != settings.coordinates:
        raise VilamError(f"its coordinates are {form}, model.coordinates is {settings.coordinates}: make them the same")
    if bins is not None and bins != settings.coordinate_bins:
        wanted = f"model.coordinate_bins is {settings.coordinate_bins}"
        raise VilamError(f"it has {bins} coordinate bins, {wanted}: make them the same")
