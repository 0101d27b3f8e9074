"""An experiment runs in a copy of the workspace and still finds the workspace's folders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from flows.experiment import _with_absolute_folders


@pytest.mark.parametrize(
    ("overrides", "changes"),
    [
        ({"seed": 3}, {}),
        ({"prepare": {"source": "voc", "root": "cells"}}, {"prepare": {"source": "voc", "root": "HERE/cells"}}),
        ({"prepare": {"source": "voc", "root": "/cells"}}, {}),
        ({"synthesize": {"teacher": "models/train"}}, {"synthesize": {"teacher": "HERE/models/train"}}),
        ({"synthesize": {"teacher": "/models/train"}}, {}),
        ({"model": {"fine_tune_from": "old"}}, {"model": {"fine_tune_from": "HERE/old"}}),
        ({"evaluate": {"model": "old", "gallery": 1}}, {"evaluate": {"model": "HERE/old", "gallery": 1}}),
        ({"synthesize": {"teacher": "models:/vilam@champion", "samples": 2}}, {}),
    ],
)
def test_relative_folders_become_absolute(
    project: Path, tmp_path: Path, overrides: dict[str, Any], changes: dict[str, Any]
) -> None:
    (tmp_path / "params.yaml").write_text((project / "params.yaml").read_text())
    expected = yaml.safe_load(yaml.safe_dump({**overrides, **changes}).replace("HERE", str(tmp_path.resolve())))
    assert _with_absolute_folders(overrides, tmp_path) == expected
