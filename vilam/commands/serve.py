"""``vilam serve``: a registered model over HTTP by MLflow; vilam/inference/serving.py says what to send."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from vilam.commands.processes import is_taken
from vilam.errors import VilamError
from vilam.tracking.connection import connect
from vilam.tracking.registry import pinned


def serve(model: str, host: str, port: int, root: Path) -> None:
    """Become the server of a registered model; raises VilamError if there is no such model or the port is taken."""
    if is_taken(host, port):
        raise VilamError(f"port {port} of {host} is taken: end what listens there, or name another one with --port")
    version = pinned(model, root)
    tools = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"  # MLflow starts uvicorn by name
    environment = {**os.environ, "MLFLOW_TRACKING_URI": connect(root), "PATH": tools}
    print(f"{version} on http://{host}:{port}/invocations (takes up to a minute to answer); ctrl-C ends it", flush=True)
    words = ["models", "serve", "-m", version, "--env-manager", "local", "--host", host, "--port", str(port)]
    os.execve(sys.executable, [sys.executable, "-m", "mlflow", *words], environment)
