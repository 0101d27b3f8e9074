"""The chosen answers: each one once, the worst first, with a fair random sample; and their drawings."""

from dataclasses import replace
from io import BytesIO

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from vilam.data.instructions import Instruction
from vilam.data.records import DatasetCard, Group, ImageRecord
from vilam.evaluation.evaluator import evaluate
from vilam.evaluation.gallery import choose, pictures
from vilam.evaluation.predictions import Prediction
from vilam.tasks import GROUP_TASKS, TASKS


@settings(max_examples=30, deadline=None)
@given(st.lists(st.sampled_from([0.0, 0.3, 0.6, 1.0]), min_size=1, max_size=30), st.integers(1, 13))
def test_answers_are_chosen_once_and_up_to_their_number(scores: list[float], count: int) -> None:
    rows = pd.DataFrame({"iou": scores, "confidence": range(len(scores))})
    groups = choose(rows, "iou", count, seed=0)
    chosen = [index for group in groups.values() for index in group.index]
    assert len(chosen) == len(set(chosen)) == min(count, len(scores))
    rest = groups["best"]["iou"]
    assert rest.empty or groups["worst"]["iou"].max() <= rest.min()


def test_the_worst_begin_with_the_most_confident_and_the_sample_repeats() -> None:
    rows = pd.DataFrame({"iou": [0.9, 0.0, 0.0, 0.1, 0.5, 0.7], "confidence": [0.5, 0.2, 0.8, 0.9, 0.5, 0.5]})
    assert list(choose(rows, "iou", 2, seed=0)["worst"].index) == [2, 1]
    first, again = (choose(rows, "iou", 6, seed=5)["random"] for _ in range(2))
    assert list(first.index) == list(again.index)
    assert len(first) == 2


@pytest.mark.parametrize("task", GROUP_TASKS)
def test_answers_about_groups_are_drawn(task: str, records: dict[str, ImageRecord], card: DatasetCard) -> None:
    group = Group("both", "the shapes", ("star", "circle"))
    record = replace(records["a"], groups=(group,))
    answer = {"rec_every": "1 box: [500, 500, 900, 900]", "presence": "yes"}[task]
    asked = Instruction("i", task, "test", "a", "both", "?", GROUP_TASKS[task].answer(record, group), 0, "the shapes")
    rows = evaluate([Prediction(asked, answer, 0.5, 0.5, (0.5,) * 4)], {"a": record}, card, bootstrap=2, seed=0).rows
    ((_, drawn),) = pictures(rows, {"a": record}, card, count=5, seed=0)
    colours = [colour for _, colour in Image.open(BytesIO(drawn)).getcolors(40000)]
    assert any(green > max(red, blue) + 30 for red, green, blue in colours)
    assert any(red > max(green, blue) + 100 for red, green, blue in colours) is (task == "rec_every")


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("answer", [None, "unreadable"])
def test_every_task_is_drawn_on_an_enlarged_image(
    task: str, answer: str | None, predict, records: dict[str, ImageRecord], card: DatasetCard
) -> None:
    prediction = predict(task, "a", answer)
    round_trips = {prediction.instruction.instruction_id: "[500, 500, 900, 900]"}
    rows = evaluate([prediction], records, card, bootstrap=2, seed=0, round_trips=round_trips).rows
    ((name, content),) = pictures(rows, records, card, count=5, seed=0)
    assert name == f"{task}_random_01" or name == f"{task}_worst_01"
    picture = Image.open(BytesIO(content))
    assert (picture.size, picture.format) == ((200, 200), "JPEG")
    colours = [colour for _, colour in picture.getcolors(40000)]  # the image itself is grey
    assert any(green > max(red, blue) + 30 for red, green, blue in colours)
    drawn = task == "reg_caption" or (task.startswith("rec_") and answer is None)
    assert any(red > max(green, blue) + 100 for red, green, blue in colours) is drawn
