"""A file is there whole or not at all."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from vilam.errors import VilamError
from vilam.files import write_whole


@contextmanager
def small_files() -> Iterator[None]:
    """No file may grow beyond a thousand bytes, as on a disk that is full: pytest's own log neither, so be brief."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("content", ["wörter\n", b"\x00\xff"])
def test_it_makes_the_folder_and_replaces_the_file(tmp_path: Path, content: str | bytes) -> None:
    path = tmp_path / "a" / "b" / "file"
    write_whole(path, "before")
    write_whole(path, content)
    assert path.read_bytes() == (content.encode() if isinstance(content, str) else content)
    assert list(path.parent.iterdir()) == [path]


def test_a_full_disk_keeps_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_whole(path, "before")
    told = r"file: not written \(File too large\): free space or mend its rights"
    with small_files(), pytest.raises(VilamError, match=told):
        write_whole(path, "x" * 5000)
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_in_the_place_of_the_folder_is_told(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("")
    with pytest.raises(VilamError, match="not written"):
        write_whole(tmp_path / "a" / "b", "x")
