"""The rows of the headline."""

from vilam.evaluation.headline import headline

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


def test_a_row_is_a_metric_with_its_values_interval_and_change() -> None:
    box, round_trip = headline({"activate": BEFORE, "train": AFTER})
    assert (box.task, box.metric, box.values, box.interval) == ("rec_box", "acc_0.5", (0.1, 0.725), (0.7, 0.75))
    assert (box.change, box.invalid, box.total) == (0.625, 0.1, 10)
    assert (round_trip.task, round_trip.values, round_trip.change, round_trip.invalid, round_trip.total) == (
        "cycle",
        (None, 0.4),
        None,
        0.0,
        3,
    )


def test_parts_of_the_answers_have_rows_of_some_metrics() -> None:
    values = {"total": 4.0, "invalid": 0.25, "acc_0.5": 0.5, "acc_0.5_low": 0.4, "acc_0.5_high": 0.6, "miou": 0.3}
    parts = {f"rec_box/{part}/{name}": value for part in ("unseen", "split_testA") for name, value in values.items()}
    rows = headline({"train": {**AFTER, **parts}})[-2:]
    assert [(row.task, row.metric) for row in rows] == [
        ("rec_box/unseen", "acc_0.5"),
        ("rec_box/split_testA", "acc_0.5"),
    ]
    assert all((row.values, row.interval, row.invalid, row.total) == ((0.5,), (0.4, 0.6), 0.25, 4) for row in rows)


def test_one_stage_has_no_change() -> None:
    assert [row.change for row in headline({"train": AFTER})] == [None, None]
