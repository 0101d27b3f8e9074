"""The model that `synthesize` asks for words: a version of the registry, or a model folder."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from vilam.config import ModelSettings
from vilam.errors import VilamError
from vilam.inference.addresses import find_model
from vilam.models.build import Trained, load_trained
from vilam.models.stock_folder import ABOUT


@dataclass(frozen=True, slots=True)
class Teacher:
    """A model folder; ``name`` is ``synthesize.teacher``, ``version`` what it was found to be when it was asked."""

    name: str
    version: str
    folder: Path

    def open(self) -> Trained:
        """Load it; raises VilamError where it is damaged."""
        try:
            return load_trained(self.folder)
        except VilamError as error:
            raise _of(self.name, error) from error


def find_teacher(name: str, root: Path, settings: ModelSettings) -> Teacher:
    """The model of ``synthesize.teacher`` in the project ``root``, before it is loaded.

    The version is "models:/vilam/3" also where an alias was named, or the folder and a sum of its weights. Raises
    VilamError where there is no such model, its weights are cut off, or it writes coordinates in another form than
    ``settings`` have it: before several processes are started, each of which would say so.
    """
    try:
        found = find_model(name, root)
        check_coordinates(found.folder, settings)
    except VilamError as error:
        raise _of(name, error) from error
    return Teacher(name, found.version, found.folder)


def check_coordinates(folder: Path, settings: ModelSettings) -> None:
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


def _of(name: str, error: VilamError) -> VilamError:
    return VilamError(f"synthesize.teacher {name}: {error}")
