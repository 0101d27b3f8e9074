"""What `make repro` ends with: the table of every task after each step, and where to look."""

from __future__ import annotations

import json
from pathlib import Path

from vilam.config import load_settings
from vilam.data.store import read_card
from vilam.errors import VilamError
from vilam.evaluation.table import markdown_table, summary_table


def show_table(root: Path, markdown: bool = False) -> None:
    """Print the table of metrics/evaluate.json, or that alone in Markdown; VilamError where nothing was evaluated."""
    path = root / "metrics" / "evaluate.json"
    try:
        metrics = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise VilamError(f"{path}: not found: run `dvc repro` first") from None
    except ValueError as error:
        raise VilamError(f"{path}: broken ({error}): run `dvc repro -f -s evaluate`") from None
    if markdown:
        card, splits = read_card(root / "data" / "records"), load_settings(root / "params.yaml").evaluate.splits
        print(markdown_table(metrics, f"{card.name}, split {', '.join(splits)}"))
        return
    print(summary_table(metrics))
    print("\n".join(where_to_look(root)))


def where_to_look(root: Path) -> list[str]:
    """One line for each place where the result can be seen."""
    return [
        f"report and gallery   {root / 'reports' / 'index.html'}",
        "runs and models      make ui (MLflow on http://127.0.0.1:5000, Prefect on http://127.0.0.1:4200)",
        "registered versions  vilam models",
        "try it               vilam predict PICTURE --locate 'the red disc' --picture answer.png",
    ]
