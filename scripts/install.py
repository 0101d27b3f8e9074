"""Install requirements.lock and vilam itself into the environment that runs this, and say which torch it got.

On Linux, torch from the package index brings gigabytes of CUDA with it. So uv takes the CPU build from PyTorch's own
index if there is no NVIDIA driver, and the CUDA build that fits the driver if there is one (`--torch-backend`). If that
index cannot be reached, the package index or a folder that UV_FIND_LINKS names has to do. UV_TORCH_BACKEND decides
instead if it is set.
"""

from __future__ import annotations

import os
import platform
import runpy
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Mapping
from pathlib import Path
from queue import Empty, Queue
from threading import Thread
from urllib.request import urlopen

INDEX = "https://download.pytorch.org/whl/cpu/torch/"
PATIENCE = 5.0
"""Seconds that PyTorch's index may take to answer."""
DRIVER = Path("/proc/driver/nvidia/version")


def choose(
    environ: Mapping[str, str], system: str, has_driver: bool, is_reachable: Callable[[], bool]
) -> tuple[str | None, str]:
    """The backend for uv (None: take torch from the package index), and why."""
    if backend := environ.get("UV_TORCH_BACKEND"):
        return backend, f"UV_TORCH_BACKEND is {backend}"
    if system != "Linux":
        return None, f"torch has one build for {system}"
    found = "an NVIDIA driver was found" if has_driver else "no NVIDIA driver was found"
    if not is_reachable():
        return None, f"{found}, but download.pytorch.org did not answer: torch as the package index has it"
    return ("auto", f"{found}: torch for CUDA") if has_driver else ("cpu", f"{found}: torch for the CPU")


def has_driver() -> bool:
    """Whether this machine has an NVIDIA driver."""
    return DRIVER.exists() or shutil.which("nvidia-smi") is not None


def is_reachable() -> bool:
    """Whether PyTorch's index answers in time."""
    answers: Queue[bool] = Queue()
    Thread(target=lambda: answers.put(_answers()), daemon=True).start()
    try:
        return answers.get(timeout=PATIENCE)  # the limit of urlopen is one for each address of the server
    except Empty:
        return False


def _answers() -> bool:
    try:
        urlopen(INDEX, timeout=PATIENCE).close()
    except OSError:
        return False
    return True


def build(version_file: Path) -> str:
    """The version of the installed torch and its CUDA, from its ``version.py``: importing torch takes seconds."""
    found = runpy.run_path(str(version_file))
    cuda = found.get("cuda")
    return f"torch {found['__version__']} ({f'CUDA {cuda}' if cuda else 'CPU'})"


def main() -> None:
    """Install; ends with uv's exit status if it fails."""
    backend, reason = choose(os.environ, platform.system(), has_driver(), is_reachable)
    print(f"installing requirements.lock into {Path(sys.prefix).name}: {reason}", flush=True)
    install = [sys.executable, "-m", "uv", "pip", "install", "--quiet", "--python", sys.executable]
    chosen = ["--torch-backend", backend] if backend else []
    for words in ([*chosen, "-r", "requirements.lock"], ["--no-deps", "--no-build-isolation", "-e", "."]):
        if status := subprocess.run([*install, *words]).returncode:
            sys.exit(status)
    print(f"installed {build(Path(sysconfig.get_path('purelib')) / 'torch' / 'version.py')}")


if __name__ == "__main__":
    main()
