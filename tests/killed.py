"""Replaces a folder in processes that are killed before their first, second, ... system call; prints each outcome.

    python killed.py FOLDER old|none exchange|renames

Each line is JSON: whether the process was killed; the content of the folder immediately, after `recover`, after
`recover` if the folder was removed before, and after one more complete replacement; and the names that are then in the
parent folder. The last line is of the process that was not killed.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from pathlib import Path

from vilam import files

COMPLETE = ["a", "b", "sub/c"]


def fill(folder: Path, content: str) -> None:
    for name in COMPLETE:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(content)


def state(folder: Path) -> str:
    """``old``, ``new`` or ``later``: the content of all files of a complete folder; else a description of it."""
    if not folder.exists():
        return "missing"
    found = {path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*") if path.is_file()}
    contents = {*found.values()}
    return contents.pop() if sorted(found) == COMPLETE and len(contents) == 1 else f"broken: {found}"


def replace(folder: Path, content: str) -> None:
    with files.replace_folder(folder) as new:
        fill(new, content)


def run_until(call: int, folder: Path) -> bool:
    """Replace the folder in a process that is killed before its system call ``call``; False if it ends before that."""
    child = os.fork()
    if not child:
        calls = iter(range(call))

        def before_system_call(event: str, _: object) -> None:
            if event.startswith(("os.", "shutil.", "open", "ctypes.")) and next(calls, None) is None:
                signal.raise_signal(signal.SIGKILL)

        try:
            sys.addaudithook(before_system_call)
            replace(folder, "new")
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


def main(root: Path, before: str, method: str) -> None:
    if method == "renames":
        files._exchange = lambda *_: False
    folder, call, killed = root / "data" / "folder", 0, True
    while killed:
        shutil.rmtree(root, ignore_errors=True)
        folder.parent.mkdir(parents=True)
        if before == "old":
            replace(folder, "old")
        killed = run_until(call, folder)
        at_once = state(folder)
        removed = shutil.copytree(folder.parent, root / "copy") / "folder"
        shutil.rmtree(removed, ignore_errors=True)
        for each in (folder, removed):
            files.recover(each)
        recovered = state(folder)
        replace(folder, "later")
        beside = sorted(path.name for path in folder.parent.iterdir())
        print(json.dumps([killed, at_once, recovered, state(removed), state(folder), beside]))
        call += 1


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
