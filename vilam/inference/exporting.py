"""``vilam export``: a whole vision-language model that was trained here, as a folder of transformers' alone."""

from __future__ import annotations

from pathlib import Path

from vilam.errors import VilamError
from vilam.inference.predictor import model_folder
from vilam.models import stock_folder
from vilam.models.build import load_trained
from vilam.models.stock import StockModel, StockTokenizer


def export(source: str, folder: Path, root: Path) -> None:
    """Write the model of ``source`` into a new folder, its adapters merged, and say how it is asked.

    Raises VilamError where it is none that transformers know, or the folder is there already.
    """
    if folder.exists():
        raise VilamError(f"{folder}: is there already: name a new folder")
    trained = load_trained(model_folder(source, root))
    if not (isinstance(trained.model, StockModel) and isinstance(trained.tokenizer, StockTokenizer)):
        raise VilamError(f"{source}: its parts were joined here, so transformers cannot open it: give vilam with it")
    stock_folder.export(trained.model, trained.tokenizer, folder)
    print(f"{folder}: {trained.model.manner()}")
