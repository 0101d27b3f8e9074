"""Parts from packages: checked, converted once, whole or not there, and one line where that cannot be."""

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
from vilam.models import packaged
from vilam.models.packaged import PACKAGED, PROVENANCE, Packaged, local_checkpoint, provenance

CONTENT = b"weights"


@pytest.fixture
def converted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """A package ``toyweights`` that is known as ``package:toy``; what it was converted into."""
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
    monkeypatch.setitem(packaged.PACKAGED, "toy", toy)
    return folders


@pytest.fixture
def change(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Makes the toy package another one."""
    return lambda **changes: monkeypatch.setitem(PACKAGED, "toy", replace(PACKAGED["toy"], **changes))


def test_it_is_converted_once_even_by_many_at_a_time(converted: list[Path]) -> None:
    with ThreadPoolExecutor(4) as pool:
        folders = set(pool.map(lambda _: local_checkpoint("package:toy"), range(8)))
    (folder,) = map(Path, folders)
    assert len(converted) == 1 and (folder / "model.safetensors").read_bytes() == CONTENT
    assert json.loads((folder / PROVENANCE).read_text()) == provenance("package:toy")
    assert provenance("package:toy")["package"] == "toy-weights==1.0"


def test_what_is_converted_needs_its_package_no_more(converted: list[Path], change) -> None:
    folder = local_checkpoint("package:toy")
    change(module="uninstalled")
    assert local_checkpoint("package:toy") == folder and len(converted) == 1


def test_other_checkpoints_stay_as_they_are() -> None:
    assert local_checkpoint("facebook/dinov2-small") == "facebook/dinov2-small"
    assert provenance("some/folder") == {"checkpoint": "some/folder"}


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"sha256": "0" * 64}, "SHA-256 begins with .* and not with 00000000: install toy-weights==1.0 anew"),
        ({"module": "uninstalled"}, "toy-weights==1.0 is not installed: make small"),
        ({"file": "other.bin"}, "toy-weights==1.0 is not installed: make small"),
    ],
)
def test_what_is_wrong_with_a_package_is_one_line(changes, told, converted: list[Path], change, tmp_path: Path) -> None:
    change(**changes)
    with pytest.raises(VilamError, match=told):
        local_checkpoint("package:toy")
    assert converted == [] and not list((tmp_path / "cache").glob("*/*"))


def test_an_unknown_name_is_told_with_the_known_ones() -> None:
    with pytest.raises(VilamError, match="choose of package:smollm2-135m-instruct, package:dinov2-small"):
        local_checkpoint("package:gpt9")


def test_nothing_half_converted_stays(converted: list[Path], change, tmp_path: Path) -> None:
    good = PACKAGED["toy"].convert

    def full(source: Path, folder: Path) -> None:
        good(source, folder)
        raise OSError(28, "No space left on device")

    change(convert=full)
    with pytest.raises(VilamError, match="No space left on device: free some space"):
        local_checkpoint("package:toy")
    assert [path.suffix for path in (tmp_path / "cache").iterdir()] == [".lock"]
    change(convert=good)
    assert Path(local_checkpoint("package:toy")).is_dir()
