"""``vilam export``: a whole vision-language model that was trained here, as a folder of transformers' alone."""

from __future__ import annotations

from pathlib import Path

from vilam.errors import VilamError
from vilam.inference.resolve import model_folder
from vilam.models.build import load_model
from vilam.models.hf import folder as hf_folder
from vilam.models.hf.model import HFModel
from vilam.models.hf.tokenizer import HFTokenizer


def export(source: str, folder: Path, root: Path) -> None:
    """Write the model of ``source`` into a new folder, its adapters merged, and say how it is asked.

    Raises VilamError where it is none that transformers know, or the folder is there already.
    """
    if folder.exists():
        raise VilamError(f"{folder}: is there already: name a new folder")
    trained = load_model(model_folder(source, root))
    if not (isinstance(trained.network, HFModel) and isinstance(trained.tokenizer, HFTokenizer)):
        raise VilamError(f"{source}: its parts were joined here, so transformers cannot open it: give vilam with it")
    hf_folder.export(trained.network, trained.tokenizer, folder)
    print(f"{folder}: {trained.network.summary()}")
