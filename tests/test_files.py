"""Files and folders are complete or absent, also if the disk is full or the process is killed."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from vilam.errors import VilamError
from vilam.files import recover, replace_folder, write_atomically


@contextmanager
def small_files() -> Iterator[None]:
    """No file can grow beyond a thousand bytes, as on a full disk. That includes pytest's log."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("content", ["wörter\n", b"\x00\xff"])
def test_write_makes_the_folder_and_replaces_the_file(tmp_path: Path, content: str | bytes) -> None:
    path = tmp_path / "a" / "b" / "file"
    write_atomically(path, "before")
    write_atomically(path, content)
    assert path.read_bytes() == (content.encode() if isinstance(content, str) else content)
    assert list(path.parent.iterdir()) == [path]


def test_full_disk_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_atomically(path, "before")
    message = r"file: not written \(File too large\): free space or fix its permissions"
    with small_files(), pytest.raises(VilamError, match=message):
        write_atomically(path, "x" * 5000)
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_file_at_the_path_of_the_folder_is_reported(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("")
    with pytest.raises(VilamError, match="not written"):
        write_atomically(tmp_path / "a" / "b", "x")


def test_a_folder_that_another_process_is_writing_is_left_alone(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    code = (
        "import sys, pathlib; from vilam.files import replace_folder\n"
        "with replace_folder(pathlib.Path(sys.argv[1])) as new: (new / 'theirs').touch()"
    )
    command = [sys.executable, "-c", code, str(folder)]
    with replace_folder(folder) as new:
        (new / "own").touch()
        done = subprocess.run(command, capture_output=True, text=True)
        assert f"VilamError: {folder}: another process is writing it: wait for it, or end it" in done.stderr
    assert [file.name for file in folder.iterdir()] == ["own"] and list(tmp_path.iterdir()) == [folder]
    subprocess.run(command, check=True)
    assert [file.name for file in folder.iterdir()] == ["theirs"] and list(tmp_path.iterdir()) == [folder]


def test_replace_folder_creates_and_replaces_and_leaves_nothing_beside(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "folder"
    for content in ("first", "second"):
        with replace_folder(folder) as new:
            assert list(new.iterdir()) == []
            (new / content).write_text(content)
        assert [path.name for path in folder.iterdir()] == [content]
        assert [path.name for path in folder.parent.iterdir()] == ["folder"]


@pytest.mark.parametrize(
    "error", [OSError(28, "No space left on device"), RuntimeError("stopped"), KeyboardInterrupt()]
)
def test_failure_while_filling_keeps_the_old_folder(tmp_path: Path, error: BaseException) -> None:
    with replace_folder(tmp_path / "folder") as new:
        (new / "file").write_text("old")
    message = r"folder: could not be written \(No space left on device\): free space or fix its permissions"
    expected = pytest.raises(VilamError, match=message) if isinstance(error, OSError) else pytest.raises(type(error))
    with expected, replace_folder(tmp_path / "folder") as new:
        (new / "file").write_text("new")
        raise error
    assert (tmp_path / "folder" / "file").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_failure_between_the_two_renames_keeps_the_old_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vilam.files._exchange", lambda *_: False)
    with replace_folder(tmp_path / "folder") as new:
        (new / "file").write_text("old")
    rename = Path.rename

    def fail_for_the_new_folder(path: Path, target: Path) -> Path:
        if path.suffix == ".partial":
            raise OSError(5, "Input/output error")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", fail_for_the_new_folder)
    with pytest.raises(VilamError, match="Input/output error"), replace_folder(tmp_path / "folder"):
        pass
    assert (tmp_path / "folder" / "file").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_old_folder_that_cannot_get_its_name_back_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vilam.files._exchange", lambda *_: False)
    rename = Path.rename

    def not_to_its_name(path: Path, target: Path) -> Path:
        if target.name == "folder":
            raise OSError(5, "Input/output error")
        return rename(path, target)

    with replace_folder(tmp_path / "folder") as new:
        (new / "file").write_text("old")
    monkeypatch.setattr(Path, "rename", not_to_its_name)
    with pytest.raises(VilamError, match="Input/output error"), replace_folder(tmp_path / "folder"):
        pass
    assert (tmp_path / ".folder.old" / "file").read_text() == "old"


def test_a_system_without_an_exchange_of_names_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ctypes.CDLL", lambda _: object())
    for content in ("first", "second"):
        with replace_folder(tmp_path / "folder") as new:
            (new / "file").write_text(content)
    assert (tmp_path / "folder" / "file").read_text() == "second"


def test_file_is_never_replaced_by_a_folder(tmp_path: Path) -> None:
    (tmp_path / "folder").write_text("a file")
    with pytest.raises(VilamError, match="could not be written"), replace_folder(tmp_path / "folder"):
        pass
    assert (tmp_path / "folder").read_text() == "a file"
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_the_current_folder_is_found_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "folder").mkdir()
    monkeypatch.chdir(tmp_path / "folder")
    recover(Path())  # it exists
    with pytest.raises(VilamError, match="not a folder that can be replaced"):
        recover(Path("/"))


def test_recover_leaves_a_folder_that_exists_alone(tmp_path: Path) -> None:
    for name in ("folder", ".folder.old"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(name)
    recover(tmp_path / "folder")
    assert (tmp_path / "folder" / "file").read_text() == "folder"


@pytest.mark.parametrize("method", ["exchange", "renames"])
@pytest.mark.parametrize("before", ["old", "none"])
def test_kill_between_any_two_system_calls_leaves_a_complete_folder(tmp_path: Path, before: str, method: str) -> None:
    """See killed.py. With `exchange` the folder is complete at once, with `renames` after `recover`."""
    script = Path(__file__).with_name("killed.py")
    words = [sys.executable, str(script), str(tmp_path / "root"), before, method]
    done = subprocess.run(words, cwd=script.parents[1], capture_output=True, text=True, check=True)
    outcomes = [json.loads(line) for line in done.stdout.splitlines()]
    none = "old" if before == "old" else "missing"
    at_once = {none, "new"} | ({"missing"} if method == "renames" else set())
    assert len(outcomes) > 10 and [killed for killed, *_ in outcomes] == [True] * (len(outcomes) - 1) + [False]
    assert {each[1] for each in outcomes} == at_once
    assert {each[2] for each in outcomes} == {none, "new"}
    assert {each[3] for each in outcomes} <= {none, "missing"}, "an incomplete folder is never recovered"
    assert all(each[4:] == ["later", ["folder"]] for each in outcomes)
    assert outcomes[-1][1] == "new"
