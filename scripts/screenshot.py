"""Takes a screenshot of a page in headless Chromium, after real seconds, for docs/images.

    python scripts/screenshot.py http://127.0.0.1:5000 docs/images/mlflow.png --wait 10 --script 'document.title'

Prefect's and MLflow's pages load their parts when they are shown, which Chromium's own --screenshot does not wait for.
"""

from __future__ import annotations

import argparse
import base64
import json
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from websockets.sync.client import connect
from websockets.sync.connection import Connection

FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--hide-scrollbars", "--remote-debugging-port=0"),
)


def main() -> None:
    """Reads the arguments, opens the page, runs the scripts one after the other and saves the screenshot."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("address")
    parser.add_argument("image", type=Path)
    parser.add_argument("--size", default="1400,1000", help="width,height in pixels")
    parser.add_argument("--wait", type=float, default=10, help="seconds before each script and before the screenshot")
    parser.add_argument("--script", action="append", default=[], help="JavaScript to run in the page, such as a click")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        command = ["chromium", *FLAGS, f"--window-size={chosen.size}", f"--user-data-dir={profile}", chosen.address]
        browser = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        try:
            with connect(page_of(Path(profile) / "DevToolsActivePort"), max_size=None) as page:
                width, height = map(int, chosen.size.split(","))  # a window has at least 500 pixels, a phone has fewer
                size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
                send(page, "Emulation.setDeviceMetricsOverride", **size)
                for script in chosen.script:
                    time.sleep(chosen.wait)
                    shown = send(page, "Runtime.evaluate", expression=script)
                    print(shown.get("result", {}).get("value", ""))
                time.sleep(chosen.wait)
                png = send(page, "Page.captureScreenshot", format="png")["data"]
        finally:
            browser.terminate()
            browser.wait()
    chosen.image.write_bytes(base64.b64decode(png))


def page_of(port_file: Path) -> str:
    """The address at which the browser's one page listens; waits until it does."""
    for _ in range(300):
        if port_file.is_file() and (lines := port_file.read_text().split()):
            with urlopen(f"http://127.0.0.1:{lines[0]}/json") as answer:
                pages = [each for each in json.load(answer) if each["type"] == "page"]
            if pages:
                return str(pages[0]["webSocketDebuggerUrl"])
        time.sleep(0.1)
    raise SystemExit("chromium did not start")


def send(page: Connection, method: str, **parameters: Any) -> dict[str, Any]:
    """Sends a command and returns its result."""
    page.send(json.dumps({"id": 1, "method": method, "params": parameters}))
    while (answer := json.loads(page.recv())).get("id") != 1:
        pass
    return dict(answer["result"])


if __name__ == "__main__":
    main()
