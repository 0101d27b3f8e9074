"""The headline's rows and its text."""

from vilam.evaluation.table import ORACLE_NOTE, headline, markdown_table, summary_table

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


def test_a_row_is_a_metric_with_its_steps_interval_and_change() -> None:
    box, trip = headline({"activate": BEFORE, "train": AFTER})
    assert (box.task, box.metric, box.values, box.interval) == ("rec_box", "acc_0.5", (0.1, 0.725), (0.7, 0.75))
    assert (box.change, box.invalid, box.total) == (0.625, 0.1, 10)
    assert (trip.task, trip.values, trip.change, trip.invalid, trip.total) == ("cycle", (None, 0.4), None, 0.0, 3)


def test_parts_of_the_answers_have_rows_of_their_leading_metrics_alone() -> None:
    values = {"total": 4.0, "invalid": 0.25, "acc_0.5": 0.5, "acc_0.5_low": 0.4, "acc_0.5_high": 0.6, "miou": 0.3}
    parts = {f"rec_box/{part}/{name}": value for part in ("unseen", "split_testA") for name, value in values.items()}
    rows = headline({"train": {**AFTER, **parts}})[-2:]
    assert [(row.task, row.metric) for row in rows] == [
        ("rec_box/unseen", "acc_0.5"),
        ("rec_box/split_testA", "acc_0.5"),
    ]
    text = summary_table({"activate": BEFORE, "train": {**AFTER, **parts}}).splitlines()
    assert [line.split()[0] for line in text if "split" in line or "unseen" in line] == ["unseen", "split_testA"]
    assert all((row.values, row.interval, row.invalid, row.total) == ((0.5,), (0.4, 0.6), 0.25, 4) for row in rows)


def test_one_step_has_no_change() -> None:
    assert [row.change for row in headline({"train": AFTER})] == [None, None]


def test_the_text_names_each_task_once_and_fits_a_terminal() -> None:
    text = summary_table({"activate": BEFORE, "train": AFTER})
    assert [line.split() for line in text.splitlines()[2:]] == [
        ["rec_box", "acc_0.5", "0.100", "0.725", "+0.625", "0.700–0.750", "10.0%", "10"],
        ["cycle", "round_trip_iou", "-", "0.400", "0.0%", "3"],
    ]
    assert "after step 1" in text
    assert max(map(len, text.splitlines())) <= 120


def test_the_best_of_all_templates_has_a_row_and_a_note() -> None:
    oracle = {"rec_box_oracle/total": 10.0, "rec_box_oracle/templates": 12.0, "rec_box_oracle/acc_0.5": 0.9}
    lines = summary_table({"activate": BEFORE, "train": {**AFTER, **oracle}}).splitlines()
    assert [line.split()[:4] for line in lines if "oracle" in line][:-1] == [
        ["rec_box_oracle", "acc_0.5", "-", "0.900"]
    ]
    assert lines[-1] == ORACLE_NOTE and "not comparable" in ORACLE_NOTE and len(ORACLE_NOTE) <= 120
    assert "oracle" not in summary_table({"train": AFTER})


def test_in_markdown_every_line_has_as_many_cells_and_the_protocol_stands_above():
    oracle = {"rec_box_oracle/acc_0.5": 0.9, "rec_box_oracle/total": 4.0, "rec_box_oracle/templates": 12.0}
    metrics = {"activate": BEFORE, "train": {**AFTER, **oracle}}
    first, blank, *table, last_blank, note = markdown_table(metrics, "coco, split test").splitlines()
    assert first.startswith("coco, split test. One question and one answer each") and blank == last_blank == ""
    assert note == ORACLE_NOTE
    assert {line.count("|") for line in table} == {table[0].count("|")}
    assert len(table) == 2 + len(headline(metrics))
    assert "oracle" not in markdown_table({"train": AFTER}, "coco")
