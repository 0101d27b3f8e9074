"""The commands of a shell without their start-up: ``python tests/forks.py FOLDER``.

One process imports torch, DeepSpeed, MLflow and DVC, which takes most of the time of a short command. FOLDER/bin has
``vilam``, ``dvc``, ``python`` and others in its place on the PATH: each asks this process for a child, which does the
same as ``python -m COMMAND`` or ``python FILE`` with the folder, the environment and the files of who asks. The stages
that DVC starts come here too, since `dvc.yaml` calls ``python -m vilam``.
"""

from __future__ import annotations

import importlib
import json
import os
import runpy
import socket
import sys
import traceback
from contextlib import suppress
from pathlib import Path

COMMANDS = ("dvc", "vilam")
"""Commands that run in a child of the server, besides ``python``."""
ENTRIES = 3
"""File descriptors that are passed on: stdin, stdout, stderr."""
PRELOADED = (
    "dvc.cli.parser",
    "dvc.repo.experiments.executor.local",
    "dvc.repo.experiments.queue.tempdir",
    "dvc.repo.plots",
    "dvc_render",
    "mlflow.pyfunc",
    "sqlalchemy.dialects.sqlite",
    "mlflow.store.model_registry.sqlalchemy_store",
)
"""Modules that commands would import, for seconds, besides those of runs.py."""
CLIENT = """\
#!{python} -IS
import json, os, socket, sys
name, *words = sys.argv
name = os.path.basename(name)
if name == "python" and words[:1] != ["-m"] and not (words and words[0].endswith(".py")):
    os.execv({python!r}, [{python!r}, *words])
words = [*words] if name == "python" else ["-m", name, *words]
with socket.socket(socket.AF_UNIX) as server:
    server.connect({address!r})
    text = json.dumps([os.getcwd(), dict(os.environ), words]).encode()
    socket.send_fds(server, [len(text).to_bytes(8, "big")], [0, 1, 2])
    server.sendall(text)
    answer = server.recv(8)
sys.exit(int.from_bytes(answer, "big") if answer else 70)
"""


def write_commands(folder: Path) -> Path:
    """Write the clients; returns the folder for the PATH."""
    (folder / "bin").mkdir(parents=True)
    for name in (*COMMANDS, "python"):
        path = folder / "bin" / name
        path.write_text(CLIENT.format(python=sys.executable, address=str(folder / "socket")))
        path.chmod(0o755)
    return folder / "bin"


def serve(folder: Path) -> None:
    """Answer until the process is ended; ``FOLDER/socket`` is there as soon as it answers."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / "half"))
        listener.listen(16)
        (folder / "half").rename(folder / "socket")
        while True:
            connection, _ = listener.accept()
            if not os.fork():
                listener.close()
                _answer(connection)
            connection.close()
            with suppress(ChildProcessError):
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass


def _answer(connection: socket.socket) -> None:
    """Run one command in a child and send its exit status."""
    size, files, _, _ = socket.recv_fds(connection, 8, ENTRIES)
    text = connection.recv(int.from_bytes(size, "big"), socket.MSG_WAITALL)
    folder, environment, words = json.loads(text)
    child = os.fork()
    if not child:
        connection.close()
        for number, file in enumerate(files):
            os.dup2(file, number)
            os.close(file)
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(environment)
        os._exit(_run(words))
    _, status = os.waitpid(child, 0)
    with suppress(BrokenPipeError):
        connection.sendall((os.waitstatus_to_exitcode(status) & 255).to_bytes(8, "big"))
    os._exit(0)


def _run(words: list[str]) -> int:
    """``python WORDS``; returns the exit status."""
    status = 0
    try:
        if words[0] == "-m":
            sys.path.insert(0, str(Path.cwd()))
            sys.argv = words[1:]
            runpy.run_module(words[1], run_name="__main__", alter_sys=True)
        else:
            sys.argv = words
            runpy.run_path(words[0], run_name="__main__")
    except SystemExit as error:
        if isinstance(error.code, str):
            print(error.code, file=sys.stderr)
        status = error.code if isinstance(error.code, int) else int(error.code is not None)
    except BaseException:
        traceback.print_exc()
        status = 1
    for stream in (sys.stdout, sys.stderr):
        with suppress(BrokenPipeError, ValueError):
            stream.flush()
    return status


def main(folder: Path) -> None:
    """Import everything, then serve."""
    os.environ["DS_ACCELERATOR"] = "cpu"
    import deepspeed  # noqa: F401
    from runs import LATER

    from vilam.cli import STAGES

    for module in (*LATER, *(f"vilam.stages.{stage}" for stage in STAGES), *PRELOADED):
        importlib.import_module(module)
    importlib.import_module("vilam.evaluation.charts").library()  # kept, and needed by each report
    serve(folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
