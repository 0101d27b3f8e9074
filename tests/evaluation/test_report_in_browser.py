"""The report as a person uses it, in Chromium: filters, charts, the large picture, a phone, and hostile texts."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from websockets.sync.client import connect

from vilam.data.records import DatasetCard, ImageRecord
from vilam.evaluation.evaluator import Evaluation, evaluate
from vilam.evaluation.report import write_report
from vilam.tasks import TASKS

HOSTILE = "</script><img src=x onerror='window.broken = 1'>"
"""A category and an expression, as a data set could have them."""
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--remote-debugging-port=0")
PHONE = {"width": 390, "height": 844, "deviceScaleFactor": 2, "mobile": True}

Run = Callable[[str], Any]


@pytest.fixture
def evaluations(predict, records: dict[str, ImageRecord], card: DatasetCard) -> dict[str, Evaluation]:
    """Every task on three images; the first model answers each box with the corner, and one text is hostile."""
    asked = [predict(task, image) for task in TASKS for image in "abc"]
    boxes = [replace(one, answer="[0, 0, 50, 50]") if one.instruction.task == "rec_box" else one for one in asked]
    named = [replace(one, answer=HOSTILE) if one.instruction.task == "reg_class" else one for one in asked]
    return {
        "activate": evaluate(boxes, records, card, bootstrap=2, seed=0),
        "train": evaluate(named, records, card, bootstrap=2, seed=0),
    }


@pytest.fixture
def page(
    tmp_path: Path, evaluations: dict[str, Evaluation], records: dict[str, ImageRecord], card: DatasetCard
) -> Iterator[Run]:
    """Runs JavaScript in the opened report and returns its value; the charts are drawn."""
    if not (chromium := shutil.which("chromium")):
        pytest.skip("needs chromium")
    path = write_report(tmp_path, evaluations, records, card, gallery=0, title="t", facts={"data": HOSTILE})
    command = [chromium, *FLAGS, f"--user-data-dir={tmp_path / 'profile'}", path.as_uri()]
    browser = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        with connect(_address(tmp_path / "profile" / "DevToolsActivePort"), max_size=None) as connection:

            def run(script: str) -> Any:
                return _send(connection, "Runtime.evaluate", expression=script, returnByValue=True)["result"].get(
                    "value"
                )

            _send(connection, "Emulation.setDeviceMetricsOverride", **PHONE)
            _wait(lambda: run("document.querySelectorAll('.spec').length"))
            _wait(lambda: run("[...document.querySelectorAll('.chart')].every(each => each.querySelector('svg'))"))
            yield run
    finally:
        browser.kill()
        browser.wait()


def _address(port_file: Path) -> str:
    _wait(lambda: port_file.is_file() and port_file.read_text().split())
    port = port_file.read_text().split()[0]

    def pages() -> list[str]:
        with urlopen(f"http://127.0.0.1:{port}/json") as answer:
            return [each["webSocketDebuggerUrl"] for each in json.load(answer) if each["type"] == "page"]

    _wait(pages)
    return pages()[0]


def _send(connection: Any, method: str, **parameters: Any) -> dict[str, Any]:
    connection.send(json.dumps({"id": 1, "method": method, "params": parameters}))
    while (answer := json.loads(connection.recv())).get("id") != 1:
        pass
    return answer["result"]


def _wait(ready: Callable[[], Any], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < end, "the browser did not get ready"
        time.sleep(0.1)


def choose(page: Run, name: str, value: str) -> str:
    """Choose in a filter as a person does; returns the line that counts the answers."""
    page(f"var list = document.querySelector('[name={name}]'); list.value = '{value}'")
    page("list.dispatchEvent(new Event('change'))")
    return page("document.querySelector('#status').textContent")


def test_the_report_in_a_browser(page: Run) -> None:
    """One browser for all, since its start takes the time."""
    cards = "document.querySelectorAll('#cards a').length"
    assert page(cards) == 3  # rec_box, the first task
    assert choose(page, "task", "").startswith("15 of 15 answers, on 3 images")
    assert choose(page, "verdict", "wrong").startswith("3 of 15")
    assert page("document.querySelector('#cards .said').textContent") == f"answer: {HOSTILE}"
    assert choose(page, "change", "broken").startswith("3 of 15")
    page("window.showAnswers('')")
    assert choose(page, "change", "fixed").startswith("3 of 15")
    assert choose(page, "text", "red star").startswith("3 of 15")
    assert choose(page, "text", "no such words").startswith("0 of 15")

    page("[...document.querySelectorAll('#errors td a')].find(each => each.textContent === '3').click()")
    assert page("location.hash") == "#task=rec_box&model=1&verdict=correct"
    mark = "[...document.querySelectorAll('#categories svg .mark-rect path')].at(-1)"
    page(f"var mark = {mark}; var box = mark.getBoundingClientRect()")
    page("mark.dispatchEvent(new MouseEvent('click', {bubbles: true, clientX: box.x + 3, clientY: box.y + 3}))")
    assert page("new URLSearchParams(location.hash.slice(1)).get('said')") == HOSTILE
    assert page(cards) == 3

    page("window.showAnswers('task=rec_keypoints'); document.querySelector('#cards a').click()")
    assert page("document.querySelector('#large').open") is True
    assert page("document.querySelector('#place').textContent") == "1 of 3"
    page("document.dispatchEvent(new KeyboardEvent('keydown', {key: 'ArrowRight'}))")
    assert page("document.querySelector('#place').textContent") == "2 of 3"
    assert page("document.querySelectorAll('#stage .truth circle').length") == 2  # of one labelled point, with its rim
    page("document.querySelector('[data-zoom=\"1.5\"]').click()")
    assert page("document.querySelector('#stage svg').getAttribute('viewBox')").startswith("16.6")
    link = page("location.hash")
    page("document.querySelector('#close').click()")
    page(f"location.hash = {json.dumps(link)}")
    _wait(lambda: page("document.querySelector('#large').open"))  # the address leads to the answer
    page("document.querySelector('#close').click()")

    assert page("document.documentElement.scrollWidth") == PHONE["width"]
    assert page("window.broken") is None
    assert page("document.querySelectorAll('img').length") == 0
    assert page("performance.getEntriesByType('resource').filter(each => !each.name.startsWith('data:')).length") == 0
