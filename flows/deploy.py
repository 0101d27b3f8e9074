"""Register the deployment of prefect.yaml and its work pool with the Prefect server.

python -m flows.deploy
"""

from __future__ import annotations

import subprocess
import sys

from flows.pipeline import ROOT

POOL = "vilam"


def main() -> int:
    """Create the pool and the deployment, or update them; returns the first exit status that is not 0."""
    for words in (
        ("work-pool", "create", POOL, "--type", "process", "--overwrite"),
        ("--no-prompt", "deploy", "--all"),
    ):
        if status := subprocess.run([sys.executable, "-m", "prefect", *words], cwd=ROOT).returncode:
            return status
    print(f"now start a worker: prefect worker start --pool {POOL}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
