"""``vilam export``: a trained Hugging Face VLM as a folder that transformers alone can open."""

from __future__ import annotations

from pathlib import Path

from vilam.errors import VilamError
from vilam.inference.resolve import model_folder
from vilam.models.build import load_model
from vilam.models.hf import folder as hf_folder
from vilam.models.hf.model import HFModel
from vilam.models.hf.tokenizer import HFTokenizer


def export(source: str, folder: Path, root: Path) -> None:
    """Write the model of ``source`` into a new folder with merged adapters, and print how it writes a box.

    Raises VilamError if it is not a Hugging Face VLM, or the folder exists.
    """
    if folder.exists():
        raise VilamError(f"{folder}: exists: name a new folder")
    trained = load_model(model_folder(source, root))
    if not (isinstance(trained.network, HFModel) and isinstance(trained.tokenizer, HFTokenizer)):
        raise VilamError(f"{source}: a composed model, which transformers alone cannot open: use it with vilam")
    hf_folder.export(trained.network, trained.tokenizer, folder)
    print(f"{folder}: {trained.network.summary()}")
