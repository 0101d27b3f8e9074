"""The images and instructions of a step: a function of the seed and the step alone."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
import toy

from vilam.cycle.examples import Example
from vilam.errors import VilamError
from vilam.training.sampling import InstructionSampler

TASKS = {"rec_box": 3.0, "reg_class": 1.0, "rec_mask": 0.0}


def sampler(seed: int = 1, per_image: int = 3, tasks: dict[str, float] | None = None) -> InstructionSampler:
    return InstructionSampler(toy.of_split("train"), tasks or TASKS, per_image, seed)


@pytest.mark.parametrize("count", [1, 3, 5])
def test_every_image_is_sampled_once_per_epoch(count):
    sampled = [image for step in range(16) for image in sampler().image_ids(step, count)]
    images = toy.SPLITS["train"]
    for start in range(0, len(sampled) - images + 1, images):
        assert sorted(sampled[start : start + images]) == sorted({each.image_id for each in toy.of_split("train")})
    epochs = {tuple(sampled[start : start + images]) for start in range(0, len(sampled) - images + 1, images)}
    assert count == 1 or len(epochs) > 1  # each epoch has an order of its own


def test_the_images_of_a_step_do_not_depend_on_earlier_steps():
    one, other = sampler(), sampler()
    for step in (7, 0, 31, 7):
        ids = one.image_ids(step, 4)
        assert ids == InstructionSampler(toy.of_split("train")[::-1], TASKS, 3, 1).image_ids(step, 4)
        assert [one.sample(i, step) for i in ids] == [other.sample(i, step) for i in ids]
    assert sampler(seed=2).image_ids(0, 8) != one.image_ids(0, 8)


def test_instructions_of_an_image_are_its_own_and_different():
    chosen = sampler(per_image=6)
    for step in range(20):
        for image_id in chosen.image_ids(step, 2):
            found = [example.instruction for example in chosen.sample(image_id, step)]
            assert 1 <= len(found) <= 6 and {each.image_id for each in found} == {image_id}
            assert len({each.instruction_id for each in found}) == len(found)
            assert {each.task for each in found} <= {"rec_box", "reg_class"}  # a task of weight 0 is never sampled


def test_tasks_are_sampled_by_weight():
    chosen = sampler(per_image=1)
    counts = Counter(
        chosen.sample(image_id, step)[0].instruction.task
        for step in range(300)
        for image_id in chosen.image_ids(step, 2)
    )
    fraction = counts["rec_box"] / counts.total()
    assert fraction == pytest.approx(0.75, abs=4 * (0.75 * 0.25 / counts.total()) ** 0.5)  # four standard deviations


def test_tasks_without_instructions_are_an_error():
    with pytest.raises(VilamError, match="rec_box"):
        sampler(tasks={"rec_box": 0.0})


def test_other_examples_replace_instructions_of_their_own_task():
    own = sampler(per_image=4)
    for image_id in own.ids[:3]:
        whole = own.sample(image_id, 5)
        for other in whole:
            left = Counter(each.instruction.task for each in own.sample(image_id, 5, [other]))
            assert left + Counter([other.instruction.task]) == Counter(each.instruction.task for each in whole)


def test_examples_of_tasks_that_are_not_sampled_replace_other_instructions():
    own = sampler(per_image=4, tasks={"reg_class": 1.0})
    other = Example(next(each for each in toy.instructions() if each.task == "rec_box"))
    for image_id in own.ids[:3]:
        whole = own.sample(image_id, 5)
        assert len(own.sample(image_id, 5, [other])) == min(len(whole), 3)
        assert own.sample(image_id, 5, [other] * 4) == own.sample(image_id, 5, [other] * 9) == []


def described(fraction: float, wanted: float) -> tuple[InstructionSampler, set[str]]:
    """A sampler of images, and the images that have an expression."""
    ids = sorted({each.image_id for each in toy.of_split("train")})
    with_words = set(ids[: round(fraction * len(ids))])
    kept = [each for each in toy.of_split("train") if each.image_id in with_words or not each.expression]
    return InstructionSampler(kept, {"rec_box": 1.0, "reg_class": 1.0}, 2, 1, wanted), with_words


@pytest.mark.parametrize(("fraction", "wanted"), [(0.25, 0.5), (0.25, 0.75), (0.125, 1.0)])
def test_described_images_are_the_set_fraction_of_a_step(fraction, wanted):
    own, with_words = described(fraction, wanted)
    chosen = [image_id for step in range(200) for image_id in own.image_ids(step, 8)]
    assert sum(image_id in with_words for image_id in chosen) / len(chosen) == pytest.approx(wanted, abs=0.06)
    counts = Counter(chosen)
    others = [counts[image_id] for image_id in own.ids if image_id not in with_words]
    assert max(others) - min(others) <= 1  # each of the others once per epoch
    assert own.image_ids(7, 8) == described(fraction, wanted)[0].image_ids(7, 8)


def test_expressions_of_groups_describe_no_region():
    kept = [each for each in toy.of_split("train") if not each.expression]
    asked = {each.image_id: replace(each, task="presence", expression="circle") for each in kept}
    own = InstructionSampler([*kept, *asked.values()], {"presence": 1.0, "reg_class": 1.0}, 2, 1, 0.5)
    assert own.fraction_described == 0


@pytest.mark.parametrize(("fraction", "wanted"), [(1.0, 0.5), (0.75, 0.5), (0.0, 0.5), (0.5, 0.0)])
def test_images_are_sampled_evenly_if_enough_or_none_are_described(fraction, wanted):
    own, _ = described(fraction, wanted)
    images = toy.SPLITS["train"]
    assert sorted(own.image_ids(0, images)) == sorted({each.image_id for each in toy.of_split("train")})
