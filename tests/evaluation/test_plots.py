"""The tables of `dvc plots`: one row per stage and point; tables of boxes are empty without box answers."""

from dataclasses import replace

from vilam.data.records import DatasetCard, ImageRecord
from vilam.evaluation.evaluator import evaluate
from vilam.evaluation.plots import plots


def test_plot_tables_have_the_rows_of_each_stage(predict, records: dict[str, ImageRecord], card: DatasetCard) -> None:
    bad, good = (
        evaluate([predict("rec_box", "a", answer), predict("reg_class")], records, card, bootstrap=2, seed=0)
        for answer in ("?", None)
    )
    tables = plots({"activate": bad, "train": good})
    rates = tables["evaluate_rates"]
    assert list(rates.columns) == ["stage", "metric", "value", "low", "high"]
    assert rates.values.tolist()[:2] == [  # a single image has no interval
        ["after activate", "rec_box/acc_0.5", 0.0, None, None],
        ["after train", "rec_box/acc_0.5", 1.0, None, None],
    ]
    assert list(tables["evaluate_iou"].columns) == ["stage", "threshold", "accuracy"]
    assert len(tables["evaluate_iou"]) == 20
    assert tables["evaluate_coverage"].values.tolist()[9:11] == [
        ["after activate", 1.0, 0.0, 1],
        ["after train", 0.1, 1.0, 1],
    ]
    assert tables["evaluate_kinds"].values.tolist() == [
        ["after activate", "attribute", 0.0, 1],
        ["after train", "attribute", 1.0, 1],
    ]
    assert list(tables["evaluate_sizes"]["size"]) == ["large", "large"]


def test_box_tables_are_empty_without_box_answers(predict, records: dict[str, ImageRecord], card: DatasetCard) -> None:
    tables = plots({"train": evaluate([predict("reg_class")], records, card, bootstrap=2, seed=0)})
    assert list(tables["evaluate_rates"]["metric"]) == ["reg_class/accuracy", "reg_class/balanced_accuracy"]
    assert (
        tables["evaluate_coverage"].empty
        and tables["evaluate_kinds"].empty
        and tables["evaluate_sizes"].empty
        and tables["evaluate_iou"].empty
    )


def test_only_rates_are_among_the_rates(predict, records: dict[str, ImageRecord], card: DatasetCard) -> None:
    captions = [predict("reg_caption", image_id) for image_id in ("a", "b")]
    evaluation = evaluate([predict("rec_box"), *captions], records, card, bootstrap=9, seed=0)
    metrics = evaluation.metrics
    assert {"reg_caption/cider", "reg_caption/num_words", "reg_caption/entropy"} <= metrics.keys()
    tables = plots({"train": evaluation})
    names = {f"rec_box/{name}" for name in ("acc_0.5", "acc_0.75", "acc_0.9", "acc_mean", "miou")}
    assert {*tables["evaluate_rates"]["metric"]} == names | {"reg_caption/exact_match"}
    name = "reg_caption/cider"
    expected = ["after train", name, metrics[name], metrics[f"{name}_low"], metrics[f"{name}_high"]]
    assert tables["evaluate_cider"].values.tolist() == [expected]


def test_only_strict_numbers_are_plotted(predict, records: dict[str, ImageRecord], card: DatasetCard) -> None:
    strict = evaluate([predict("rec_box")], records, card, bootstrap=2, seed=0)
    both = replace(strict, metrics={**strict.metrics, "rec_box_oracle/acc_0.5": 1.0})
    with_oracle, alone = (plots({"train": each})["evaluate_rates"] for each in (both, strict))
    assert with_oracle.equals(alone)
