"""The common part of both training stages: the validation set, the loss curve, the folder of checkpoints."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
import toy

from vilam.data.instructions import read_instructions, write_instructions
from vilam.data.store import write_dataset
from vilam.errors import VilamError
from vilam.layout import Layout
from vilam.stages import activate
from vilam.stages import phase as module
from vilam.tasks import TASKS
from vilam.training.loop import History


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    return Layout(toy.write_project(tmp_path_factory.mktemp("project")))


def test_the_validation_set_has_one_question_per_task_and_image(project):
    chosen = module.validation_set(read_instructions(project.instructions, "val", set(TASKS)), 2)
    assert len({each.image_id for each in chosen}) == 2 and {each.split for each in chosen} == {"val"}
    assert len({(each.image_id, each.task) for each in chosen}) == len(chosen)
    assert {each.task for each in chosen} == set(TASKS)


@pytest.mark.parametrize(("empty", "split"), [((), "val"), (("val",), "test"), (("val", "test"), "train")])
def test_a_split_without_objects_is_not_validated_on(tmp_path, empty, split):
    root = toy.write_settings(tmp_path)
    records = [record.with_regions(()) if record.split in empty else record for record in toy.scenes()]
    write_dataset(records, toy.card(), root / "data" / "records", 100)
    kept = [each for each in toy.instructions() if each.split not in empty]
    write_instructions(root / "data" / "instructions", kept)
    data = module.Data.open(Layout(root), set(TASKS), 2)
    assert (
        {each.split for each in data.validation} == {split} == {data.held_out[each].split for each in data.held_out.ids}
    )
    assert module.validation_split(data.records.card) == ("val" if split == "val" else None)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({}, None),
        ({"evaluate__splits": ["tets"]}, "scenes: evaluate.splits names tets, there are train, val, test: set"),
        ({"evaluate__tasks": ["presence"]}, "scenes: nothing in test to ask presence about: nothing can be evaluated"),
        ({"train__tasks": {"rec_every": 1}}, "scenes: nothing in train to ask rec_every about: set train.tasks to"),
        ({"model__checkpoint": "Qwen/Qwen3-VL-2B-Instruct"}, None),
    ],
)
def test_settings_that_do_not_fit_the_data_stop_before_training(project, changes, message):
    settings = toy.settings(**changes)
    if message is None:
        module.check_use(settings, project)
        return
    for run in (module.check_use, lambda own, layout: activate.run(own, layout.root)):
        with pytest.raises(VilamError) as stopped:
            run(settings, project)
        assert str(stopped.value).startswith(message)


def test_pictures_that_another_model_than_that_of_prepare_refuses(tmp_path):
    root = toy.write_project(tmp_path, model__checkpoint="Qwen/Qwen3-VL-2B-Instruct")
    records = [replace(record, width=9801) if record.split == "val" else record for record in toy.scenes()]
    write_dataset(records, toy.card(), root / "data" / "records", 100)
    with pytest.raises(VilamError, match=r"3 pictures are more than 200 times as long as wide.* the model of params"):
        module.check_use(toy.settings(model__checkpoint="Qwen/Qwen3-VL-2B-Instruct"), Layout(root))


def test_write_history_writes_what_was_measured_and_the_last_numbers(tmp_path):
    history = History(images=64)
    history.add(20, {"loss": 2.0, "learning_rate": 0.1})
    history.add(21, {"cycle_iou": 0.3})
    history.add(40, {"loss": 1.0, "learning_rate": 0.05})
    history.add(40, {"val_loss": 1.5})
    module.write_history(history, "train", Layout(tmp_path))
    tables = {
        file.stem: file.read_text().splitlines()[1:] for file in (tmp_path / "metrics" / "plots").glob("train_*.csv")
    }
    assert tables == {
        "train_loss": ["20,loss,2.0", "20,learning_rate,0.1", "40,loss,1.0", "40,learning_rate,0.05"],
        "train_validation": ["40,val_loss,1.5"],
        "train_cycle": ["21,cycle_iou,0.3"],
    }
    content = json.loads((tmp_path / "metrics" / "train.json").read_text())
    assert content == {
        "loss": 1.0,
        "learning_rate": 0.05,
        "cycle_iou": 0.3,
        "val_loss": 1.5,
        "steps": 40,
        "images": 64,
    }


def test_the_checkpoint_folder_depends_on_settings_and_data(project, tmp_path):
    def key(**changes: Any) -> str:
        return module.checkpoints_for("train", toy.settings(**changes), project, "weights").folder.name

    assert key() == key() != key(seed=7) != key(model__aligner="qformer")
    other = Layout(toy.write_project(tmp_path))
    assert module.checkpoints_for("train", toy.settings(), other, "weights").folder.name == key()
    changed = (replace(each, answer=each.answer.replace("[1", "[2")) for each in toy.instructions())
    write_instructions(other.instructions, changed)  # as many as before, with other answers
    assert module.checkpoints_for("train", toy.settings(), other, "weights").folder.name != key()
