"""OKS against the evaluation of pycocotools, and PCK."""

from __future__ import annotations

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from vilam.data.readers.coco_rows import PERSON_SIGMAS
from vilam.geometry.keypoints import oks, pck


def _coco_oks(predicted: np.ndarray, true: np.ndarray, area: float) -> float:
    truth = COCO()
    truth.dataset = {
        "images": [{"id": 1}],
        "categories": [{"id": 1, "name": "person"}],
        "annotations": [
            {
                "id": 1,
                "image_id": 1,
                "category_id": 1,
                "bbox": [0, 0, 50, 50],
                "area": area,
                "iscrowd": 0,
                "keypoints": true.ravel().tolist(),
                "num_keypoints": int((true[:, 2] > 0).sum()),
            }
        ],
    }
    truth.createIndex()
    found = np.column_stack([predicted, np.ones(17)]).ravel().tolist()
    answers = truth.loadRes([{"image_id": 1, "category_id": 1, "keypoints": found, "score": 1.0}])
    evaluation = COCOeval(truth, answers, "keypoints")
    evaluation._prepare()
    return float(evaluation.computeOks(1, 1)[0, 0])


@pytest.mark.parametrize("seed", range(4))
def test_oks_equals_that_of_pycocotools(seed: int) -> None:
    numbers = np.random.default_rng(seed)
    true = np.column_stack([numbers.uniform(0, 50, (17, 2)), numbers.integers(0, 3, 17)])
    predicted = true[:, :2] + numbers.normal(0, 3, (17, 2))
    assert oks(predicted, true, 900.0, PERSON_SIGMAS) == pytest.approx(_coco_oks(predicted, true, 900.0), abs=1e-9)


def test_perfect_oks_is_one_and_unlabelled_keypoints_do_not_count() -> None:
    true = [[3, 4, 2], [0, 0, 0]]
    assert oks([[3, 4], [99, 99]], true, 100, [0.1, 0.1]) == 1
    assert oks([[3, 4]], [[3, 4, 0]], 100, [0.1]) == 0


def test_oks_at_one_sigma_is_that_of_the_formula() -> None:
    area, sigma = 400.0, 0.1
    distance = 2 * sigma * area**0.5
    assert oks([[distance, 0]], [[0, 0, 2]], area, [sigma]) == pytest.approx(np.exp(-0.5))


@pytest.mark.parametrize(("moved", "expected"), [(0, 1.0), (8, 1.0), (8.1, 0.5), (500, 0.5)])
def test_pck_counts_keypoints_within_a_fifth_of_the_longer_side(moved: float, expected: float) -> None:
    """For a box of 20 x 40; unlabelled keypoints do not count."""
    true = [[5, 5, 2], [10, 20, 1], [0, 0, 0]]
    predicted = [[5 + moved, 5], [10, 20], [999, 999]]
    assert pck(predicted, true, [0, 0, 20, 40]) == expected


def test_pck_without_labelled_keypoints_is_zero() -> None:
    assert pck([[1, 1]], [[1, 1, 0]], [0, 0, 9, 9]) == 0
