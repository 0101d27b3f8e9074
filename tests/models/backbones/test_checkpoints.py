"""Checkpoints in packages: checked, converted once, complete or absent, and one line if that is impossible."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from vilam.errors import VilamError
from vilam.models.backbones.checkpoints import PACKAGED, PROVENANCE, Packaged, local_checkpoint, provenance

CONTENT = b"weights"


@pytest.fixture
def converted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """A package ``toyweights`` that is known as ``package:toy``; the folders into which it was converted."""
    folders: list[Path] = []

    def convert(source: Path, folder: Path) -> None:
        folders.append(folder)
        (folder / "model.safetensors").write_bytes(source.read_bytes())

    (tmp_path / "site" / "toyweights").mkdir(parents=True)
    (tmp_path / "site" / "toyweights" / "weights.bin").write_bytes(CONTENT)
    monkeypatch.setattr(sys, "path", [str(tmp_path / "site"), *sys.path])
    monkeypatch.setenv("VILAM_CACHE", str(tmp_path / "cache"))
    digest = hashlib.sha256(CONTENT).hexdigest()
    toy = Packaged("Toy", "toy-weights==1.0", "toyweights", "weights.bin", digest, "Apache-2.0", convert)
    monkeypatch.setitem(PACKAGED, "toy", toy)
    return folders


@pytest.fixture
def change(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Changes the toy package."""
    return lambda **changes: monkeypatch.setitem(PACKAGED, "toy", replace(PACKAGED["toy"], **changes))


def test_a_package_is_converted_once_even_by_many_threads(converted: list[Path]) -> None:
    with ThreadPoolExecutor(4) as pool:
        folders = set(pool.map(lambda _: local_checkpoint("package:toy"), range(8)))
    (folder,) = map(Path, folders)
    assert len(converted) == 1 and (folder / "model.safetensors").read_bytes() == CONTENT
    assert json.loads((folder / PROVENANCE).read_text()) == provenance("package:toy")
    assert provenance("package:toy")["package"] == "toy-weights==1.0"


def test_a_converted_package_may_be_uninstalled(converted: list[Path], change) -> None:
    folder = local_checkpoint("package:toy")
    change(module="uninstalled")
    assert local_checkpoint("package:toy") == folder and len(converted) == 1


def test_other_names_are_returned_unchanged() -> None:
    assert local_checkpoint("facebook/dinov2-small") == "facebook/dinov2-small"
    assert provenance("some/folder") == {"checkpoint": "some/folder"}


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"sha256": "0" * 64}, "SHA-256 begins with .*, not with 00000000: install toy-weights==1.0 again"),
        ({"module": "uninstalled"}, "toy-weights==1.0 is not installed: make small"),
        ({"file": "other.bin"}, "toy-weights==1.0 is not installed: make small"),
    ],
)
def test_a_wrong_package_is_reported_in_one_line(
    changes, problem, converted: list[Path], change, tmp_path: Path
) -> None:
    change(**changes)
    with pytest.raises(VilamError, match=problem):
        local_checkpoint("package:toy")
    assert converted == [] and not list((tmp_path / "cache").glob("*/*"))


def test_the_message_for_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(VilamError, match="choose one of package:smollm2-135m-instruct, package:dinov2-small"):
        local_checkpoint("package:gpt9")


def test_an_interrupted_conversion_leaves_nothing(converted: list[Path], change, tmp_path: Path) -> None:
    good = PACKAGED["toy"].convert

    def full(source: Path, folder: Path) -> None:
        good(source, folder)
        raise OSError(28, "No space left on device")

    change(convert=full)
    with pytest.raises(VilamError, match=r"could not be written \(No space left on device\): free space"):
        local_checkpoint("package:toy")
    assert [path.suffix for path in (tmp_path / "cache").iterdir()] == [".lock"]
    change(convert=good)
    assert Path(local_checkpoint("package:toy")).is_dir()
