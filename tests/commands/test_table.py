"""The table of all tasks: for the terminal, in Markdown, and by its command."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from vilam.cli import app
from vilam.commands.table import markdown_table, show_table, summary_table
from vilam.errors import VilamError
from vilam.evaluation.headline import ORACLE_NOTE, headline

BEFORE = {"rec_box/total": 9.0, "rec_box/invalid": 0.5, "rec_box/acc_0.5": 0.1, "reg_class/total": 0.0}
AFTER = {
    "rec_box/total": 10.0,
    "rec_box/invalid": 0.1,
    "rec_box/acc_0.5": 0.725,
    "rec_box/acc_0.5_low": 0.7,
    "rec_box/acc_0.5_high": 0.75,
    "rec_box/kind_order/acc_0.5": 0.9,
    "reg_class/total": 0.0,
    "cycle/round_trip_iou": 0.4,
    "cycle/total": 3.0,
}


def test_the_text_names_each_task_once_and_fits_into_a_terminal() -> None:
    text = summary_table({"activate": BEFORE, "train": AFTER})
    assert [line.split() for line in text.splitlines()[2:]] == [
        ["rec_box", "acc_0.5", "0.100", "0.725", "+0.625", "0.700–0.750", "10.0%", "10"],
        ["cycle", "round_trip_iou", "-", "0.400", "0.0%", "3"],
    ]
    assert "after activate" in text
    assert max(map(len, text.splitlines())) <= 120


def test_the_best_of_all_templates_has_a_row_and_a_note() -> None:
    oracle = {"rec_box_oracle/total": 10.0, "rec_box_oracle/templates": 12.0, "rec_box_oracle/acc_0.5": 0.9}
    lines = summary_table({"activate": BEFORE, "train": {**AFTER, **oracle}}).splitlines()
    assert [line.split()[:4] for line in lines if "oracle" in line][:-1] == [
        ["rec_box_oracle", "acc_0.5", "-", "0.900"]
    ]
    assert lines[-1] == ORACLE_NOTE and "not comparable" in ORACLE_NOTE and len(ORACLE_NOTE) <= 120
    assert "oracle" not in summary_table({"train": AFTER})


def test_markdown_rows_have_equal_numbers_of_cells_below_the_protocol():
    oracle = {"rec_box_oracle/acc_0.5": 0.9, "rec_box_oracle/total": 4.0, "rec_box_oracle/templates": 12.0}
    metrics = {"activate": BEFORE, "train": {**AFTER, **oracle}}
    first, blank, *table, last_blank, note = markdown_table(metrics, "coco, split test").splitlines()
    assert first.startswith("coco, split test. One answer to each question") and blank == last_blank == ""
    assert note == ORACLE_NOTE
    assert {line.count("|") for line in table} == {table[0].count("|")}
    assert len(table) == 2 + len(headline(metrics))
    assert "oracle" not in markdown_table({"train": AFTER}, "coco")


def test_parts_are_shown_below_their_task() -> None:
    parts = {f"rec_box/{part}/acc_0.5": 0.5 for part in ("unseen", "split_testA")}
    lines = summary_table({"activate": BEFORE, "train": {**AFTER, **parts}}).splitlines()
    assert [line.split()[0] for line in lines if "split" in line or "unseen" in line] == ["unseen", "split_testA"]


def test_the_command_prints_the_table_and_where_to_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    metrics = {"activate": BEFORE, "train": AFTER}
    (tmp_path / "metrics").mkdir()
    (tmp_path / "metrics" / "evaluate.json").write_text(json.dumps(metrics))
    monkeypatch.chdir(tmp_path)
    app(["table"], standalone_mode=False)
    output = capsys.readouterr().out
    assert output.startswith(summary_table(metrics)) and str(tmp_path / "reports" / "index.html") in output


@pytest.mark.parametrize(("content", "message"), [(None, "not found: run `dvc repro` first"), ("{", "broken")])
def test_without_metrics_it_says_what_to_run(content: str | None, message: str, tmp_path: Path) -> None:
    (tmp_path / "metrics").mkdir()
    if content is not None:
        (tmp_path / "metrics" / "evaluate.json").write_text(content)
    with pytest.raises(VilamError, match=message) as error:
        show_table(tmp_path)
    assert "\n" not in str(error.value)
