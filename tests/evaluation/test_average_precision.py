"""Average precision of answers about categories, against pycocotools on plain detections."""

from __future__ import annotations

import json
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from scipy.stats import norm

from vilam.evaluation.average_precision import NAMES, average_precision, mean_precisions, rankings
from vilam.evaluation.estimates import Bootstrap


def random_rows(seed: int) -> pd.DataFrame:
    """Answers about categories of images: true boxes, and found ones near them or anywhere."""
    rng = np.random.default_rng(seed)
    rows = []
    for image in range(40):
        for name in ("ant", "bee", "cat"):
            if rng.random() < 0.3:
                continue
            true = [_box(rng) for _ in range(rng.integers(0, 4))]
            found = [[*(np.array(box) + rng.normal(0, 2, 4) * [1, 1, 0, 0])] for box in true if rng.random() < 0.8]
            found += [_box(rng) for _ in range(rng.integers(0, 2))]
            row = {
                "image_id": f"i{image}",
                "content_id": f"i{image}",
                "expression": name,
                "expression_kind": "class",
                "true_boxes": true,
            }
            rows.append(row | {"boxes": found, "box_scores": rng.random(len(found)).tolist()})
    return pd.DataFrame(rows)


def _box(rng: np.random.Generator) -> list[float]:
    x, y, width, height = rng.uniform(10, 60, 4)
    return [float(x), float(y), float(x + width), float(y + height)]


def coco_stats(rows: pd.DataFrame, folder: Path) -> list[float]:
    """AP, AP at 0.5 and at 0.75 as pycocotools computes them from files."""
    names, images = sorted({*rows["expression"]}), sorted({*rows["image_id"]})
    true, found = [], []
    for row in rows.to_dict("records"):
        keys = {"image_id": images.index(row["image_id"]) + 7, "category_id": names.index(row["expression"]) + 3}
        for x1, y1, x2, y2 in row["true_boxes"]:
            size = {"bbox": [x1, y1, x2 - x1, y2 - y1], "area": (x2 - x1) * (y2 - y1), "iscrowd": 0}
            true.append({"id": len(true) + 1, **keys, **size})
        for (x1, y1, x2, y2), score in zip(row["boxes"], row["box_scores"], strict=True):
            found.append({**keys, "bbox": [x1, y1, x2 - x1, y2 - y1], "score": score})
    content = {"images": [{"id": i + 7} for i in range(len(images))], "annotations": true}
    content["categories"] = [{"id": i + 3, "name": name} for i, name in enumerate(names)]
    (folder / "true.json").write_text(json.dumps(content))
    (folder / "found.json").write_text(json.dumps(found))
    with redirect_stdout(StringIO()):
        coco = COCO(str(folder / "true.json"))
        scored = COCOeval(coco, coco.loadRes(str(folder / "found.json")), "bbox")
        scored.evaluate()
        scored.accumulate()
        scored.summarize()
    return [float(value) for value in scored.stats[:3]]


@pytest.mark.parametrize("seed", range(3))
def test_average_precision_is_that_of_pycocotools_on_files(seed: int, tmp_path: Path) -> None:
    rows = random_rows(seed)
    ours = dict(average_precision("t", rows, 20, 0))
    assert [ours[f"t/{name}"] for name in NAMES] == pytest.approx(coco_stats(rows, tmp_path), abs=1e-12)
    assert 0.1 < ours["t/ap"] < ours["t/ap_0.5"] < 0.95
    for name in NAMES:
        assert ours[f"t/{name}_low"] < ours[f"t/{name}"] < ours[f"t/{name}_high"]


def test_the_interval_is_95_percent_of_a_normal_distribution() -> None:
    """With the standard error of its resamples, whose quantile scipy knows."""
    rows = random_rows(0)
    ours = dict(average_precision("t", rows, 50, 0))
    weights = Bootstrap(rows["content_id"], 50, 0).weights()
    error = np.std([mean_precisions(rankings(rows), each).mean() for each in weights])
    width = norm.ppf(0.975) - norm.ppf(0.025)
    assert ours["t/ap_high"] - ours["t/ap_low"] == pytest.approx(width * error, rel=1e-3)


@pytest.mark.parametrize("seed", range(5))
def test_a_resample_is_pycocotools_on_files_that_hold_each_image_that_often(seed: int, tmp_path: Path) -> None:
    rows = random_rows(seed)
    images = rows["image_id"].unique()
    chosen = np.random.default_rng(seed).integers(0, 3, len(images))
    times = rows["image_id"].map(dict(zip(images, chosen, strict=True)))
    first, second = rows[times > 0], rows[times > 1]
    expected = coco_stats(pd.concat([first, second.assign(image_id=second["image_id"] + " again")]), tmp_path)
    found = mean_precisions(rankings(rows), times.to_numpy(float))
    assert [found[thresholds].mean() for thresholds in NAMES.values()] == pytest.approx(expected, abs=1e-12)


def test_a_resample_without_a_category_is_a_mean_over_the_others(tmp_path: Path) -> None:
    rows = random_rows(0)
    is_left = rows["expression"] != "cat"
    expected = coco_stats(rows[is_left], tmp_path)
    found = mean_precisions(rankings(rows), is_left.to_numpy(float))
    assert [found[each].mean() for each in NAMES.values()] == pytest.approx(expected, abs=1e-12)
    assert np.isnan(mean_precisions(rankings(rows), np.zeros(len(rows)))).all()


def test_average_precision_needs_true_boxes() -> None:
    rows = random_rows(0)
    assert not dict(average_precision("t", rows.assign(true_boxes=[[]] * len(rows)), 20, 0))
    assert not dict(average_precision("t", rows.assign(expression_kind="free"), 20, 0))
    none = rows.assign(boxes=[[]] * len(rows), box_scores=[[]] * len(rows))
    assert set(dict(average_precision("t", none, 20, 0)).values()) == {0.0}
