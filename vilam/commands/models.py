"""``vilam models``: the registered versions side by side."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Column, Table

from vilam.config import RegisterSettings
from vilam.errors import VilamError
from vilam.layout import Layout
from vilam.tracking.registration import CHAMPION, shown_value
from vilam.tracking.registry import Version, nothing_registered, versions

SHOWN = 4
"""Versions that are printed, at most, besides the champion."""


def show_models(settings: RegisterSettings, root: Path) -> None:
    """Print the newest versions and the champion side by side; raises VilamError if none is registered."""
    registered = versions(root, settings.model_name)
    if not registered:
        raise VilamError(nothing_registered(root, settings.model_name))
    shown = [v for v in registered if v in registered[-SHOWN:] or CHAMPION in v.aliases]
    titles: list[Column | str] = [Column("", no_wrap=True), *(f"version {version.number}" for version in shown)]
    table = Table(*titles, box=box.SIMPLE_HEAD)
    for name, cells in comparison(shown, settings).items():
        table.add_row(name, *cells)
    Console(width=None if sys.stdout.isatty() else 40 + 30 * len(shown)).print(table)
    if len({version.tags.get("test_data") for version in shown}) > 1:
        print("Columns with different test data do not compare: `register` asks the champion the new questions first.")


def import_models(root: Path) -> None:
    """Register what models/registered holds and the registry does not; raises VilamError if there is no such folder."""
    from vilam.inference.serving import serving
    from vilam.tracking.sharing import import_versions

    if not Layout(root).registered.is_dir():
        raise VilamError(f"{Layout(root).registered}: not found: run `dvc pull` first")
    print("\n".join(import_versions(root, serving())) or "nothing new in models/registered")


def comparison(shown: list[Version], settings: RegisterSettings) -> dict[str, list[str]]:
    """Rows by name, a cell for each version: aliases, the gate's metrics, origin, and parameters that differ."""
    rows = {
        "alias": [", ".join(v.aliases) for v in shown],
        settings.primary: [_with_interval(v.metrics, settings.primary) for v in shown],
        **{name: [shown_value(v.metrics, name) for v in shown] for name in settings.guards},
        "git commit": [_short_commit(v.tags.get("git_commit", "-")) for v in shown],
        "trained on": [v.tags.get("trained_on", "-") for v in shown],
        "evaluated on": [v.tags.get("evaluated_on", "-") for v in shown],
        "test data": [v.tags.get("test_data", "-") for v in shown],
        "registered (UTC)": [v.created.strftime("%Y-%m-%d %H:%M") for v in shown],
    }
    names = sorted({name for v in shown for name in v.params})
    params = {name: [v.params.get(name, "-") for v in shown] for name in names}
    return rows | {name: cells for name, cells in params.items() if len(set(cells)) > 1}


def _short_commit(commit: str) -> str:
    return commit[:8] + ("-dirty" if commit.endswith("-dirty") else "")


def _with_interval(metrics: Mapping[str, float], name: str) -> str:
    low, high = (metrics.get(f"{name}_{end}") for end in ("low", "high"))
    interval = "" if low is None or high is None else f" ({low:.3f} to {high:.3f})"
    return shown_value(metrics, name) + interval
