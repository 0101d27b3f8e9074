"""The strict evaluation on a toy project (see tests/runs.py), and its errors."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from dataclasses import replace

import pandas as pd
import pytest
import toy

from vilam.config import EvaluateSettings
from vilam.data.instructions import read_instructions, write_instructions
from vilam.data.store import RecordStore, content_hash, content_hashes, write_dataset
from vilam.errors import VilamError
from vilam.evaluation import protocol
from vilam.evaluation.predictions import Prediction
from vilam.evaluation.round_trips import round_trip_questions
from vilam.inference.model import Model
from vilam.layout import Layout
from vilam.models.build import load_model
from vilam.stages import evaluate, register
from vilam.tasks import ALL_TASKS, GROUP_TASKS, TASKS
from vilam.tasks.synthesis import render


@pytest.fixture(scope="module")
def root(projects):
    return projects / "whole"


def answerer(root, records):
    """The trained model of a project."""
    loaded = load_model(root / "models" / "train")
    model = Model.for_data(loaded.network, loaded.tokenizer, records.card)
    return protocol.Answerer(model, records, toy.settings().evaluate.batch_size)


def test_both_models_are_scored_on_the_same_questions(root):
    metrics = json.loads((root / "metrics" / "evaluate.json").read_text())
    assert set(metrics) == {"activate", "train"}
    assert metrics["activate"].keys() == metrics["train"].keys()
    tables = {stage: pd.read_parquet(root / "predictions" / f"{stage}.parquet") for stage in metrics}
    instructions = evaluate.instructions_of(Layout(root), toy.settings().evaluate)
    for stage, table in tables.items():
        scored = table[table["task"].isin(ALL_TASKS)]
        assert Counter(scored["task"]) == Counter(each.task for each in instructions)
        for task, count in Counter(each.task for each in instructions).items():
            assert metrics[stage][f"{task}/total"] == count
    assert {each.task for each in instructions} >= GROUP_TASKS.keys()


def test_no_answer_is_invalid(root):
    """Not even one of a model that is hardly trained."""
    metrics = json.loads((root / "metrics" / "evaluate.json").read_text())
    for stage in metrics:
        assert all(metrics[stage][f"{task}/invalid"] == 0 for task in ALL_TASKS)


def test_running_the_protocol_again_gives_the_same_metrics(root):
    """With the functions of the stage, without MLflow and the report."""
    own = toy.settings().evaluate
    records = RecordStore(root / "data" / "records", *own.splits)
    instructions = evaluate.instructions_of(Layout(root), own)
    answers = protocol.ask(answerer(root, records), instructions, own, "train")
    again = protocol.score(answers, records, own, toy.settings().seed)
    kept = json.loads((root / "metrics" / "evaluate.json").read_text())["train"]
    assert again.metrics == pytest.approx(kept, nan_ok=True)


@pytest.mark.parametrize(
    ("changes", "prefix", "names"),
    [
        ({"protocol": "vilam-oracle"}, "rec_box_oracle", {"acc_0.5", "templates"}),
        ({"dialogue": True}, "dialogue", {"accuracy", "found_and_named"}),
    ],
)
def test_further_questions_change_no_strict_metric(root, changes, prefix, names):
    own = toy.settings().evaluate
    records = RecordStore(root / "data" / "records", *own.splits)
    instructions = evaluate.instructions_of(Layout(root), own)
    chosen = [own.model_copy(update=each) for each in ({}, changes)]
    strict, both = (
        protocol.score(protocol.ask(answerer(root, records), instructions, each, "train"), records, each, 1)
        for each in chosen
    )
    pd.testing.assert_frame_equal(strict.rows, both.rows, check_exact=True)
    more = {name: value for name, value in both.metrics.items() if name not in strict.metrics}
    assert both.metrics == strict.metrics | more
    ends = {f"{name}_{end}" for name in names - {"templates"} for end in ("low", "high")}
    assert set(more) == {f"{prefix}/{name}" for name in names | ends | {"total"}}
    assert more[f"{prefix}/total"] == strict.metrics["rec_box/total"]


FILES = [f"predictions/{stage}.parquet" for stage in ("activate", "train")]
FILES += ["metrics/evaluate.json", "metrics/plots/evaluate_rates.csv", "metrics/plots/evaluate_coverage.csv"]


@pytest.mark.parametrize("file", FILES)
def test_two_processes_write_the_same_as_one(projects, file):
    """With second turns and all templates; see tests/runs.py."""
    one, two = (projects / f"shared{number}" / file for number in (1, 2))
    assert one.read_bytes() == two.read_bytes()


def test_dialogue_and_oracle_metrics_are_beside_the_strict_ones(projects, root):
    alone, shared = (
        json.loads((each / "metrics" / "evaluate.json").read_text()) for each in (root, projects / "shared2")
    )
    assert set(alone) == set(shared) == {"activate", "train"}
    for stage, found in shared.items():
        assert {name.partition("/")[0] for name in found.keys() - alone[stage].keys()} == {"rec_box_oracle", "dialogue"}
        assert found["rec_box/total"] == found["rec_box_oracle/total"] == found["dialogue/total"] > 0
        assert found["rec_box_oracle/acc_0.5"] >= found["rec_box/acc_0.5"]
        assert found["dialogue/found_and_named"] <= min(found["dialogue/accuracy"], found["rec_box/acc_0.5"])


@pytest.mark.parametrize("number", [1, 2])
def test_only_the_first_process_reports(projects, number):
    from mlflow import MlflowClient

    project = projects / f"shared{number}"
    assert len(MlflowClient(f"sqlite:///{project / 'mlruns' / 'mlflow.db'}").search_runs(["1"])) == 1
    logs = [(project / f"log-{rank}.txt").read_text() for rank in range(number)]
    assert "evaluate train, oracle: " in logs[0] and not any("evaluate" in each for each in logs[1:])


def test_a_model_knows_its_training_images(root):
    trained = {*content_hashes(root / "data" / "records", "train").values()}
    assert len(trained) > 1
    for stage in ("activate", "train"):
        assert load_model(root / "models" / stage).seen == trained


def test_an_image_that_was_trained_on_is_reported_and_left_out(root, caplog):
    """It is recognised by its content."""
    records = RecordStore(root / "data" / "records", "test")
    image_id = records.ids[1]
    seen = frozenset({content_hash(records[image_id].image), "0" * 64})
    assert evaluate.leaked_images(records, seen) == {image_id}
    assert [record.getMessage() for record in caplog.records] == [
        f"evaluate: image {image_id} was trained on: left out"
    ]


def test_a_split_that_was_trained_on_completely_is_refused(root, tmp_path):
    folder = tmp_path / "project"
    shutil.copytree(root, folder, symlinks=True)
    hashes = content_hashes(folder / "data" / "records", "test").values()
    (folder / "models" / "train" / "seen_images.txt").write_text("\n".join(hashes))
    with pytest.raises(VilamError, match="every image of the split 'test' was trained on"):
        evaluate.run(toy.settings(), folder)


def test_the_metrics_are_logged_to_the_run_of_the_training(root):
    from mlflow import MlflowClient

    run_id = json.loads((root / "models" / "train" / "run.json").read_text())["run_id"]
    client = MlflowClient(f"sqlite:///{root / 'mlruns' / 'mlflow.db'}")
    logged = client.get_run(run_id).data.metrics
    metrics = json.loads((root / "metrics" / "evaluate.json").read_text())
    assert logged["scores/rec_box/acc_0.5"] == logged["rec_box"] == metrics["train"]["rec_box/acc_0.5"]
    assert logged["scores_after_activate/rec_box/acc_0.5"] == metrics["activate"]["rec_box/acc_0.5"]
    names = {item.path for item in client.list_artifacts(run_id)}
    assert {"report", "predictions"} <= names
    in_front = [name for name in sorted(logged) if not name.startswith(("scores", "train/"))]
    assert in_front == sorted(logged)[: len(in_front)]
    assert {"rec_box", "reg_class", "reg_caption"} <= {*in_front} and not [name for name in in_front if "/" in name]
    view = json.loads(client.get_experiment_by_name("vilam").tags["mlflow.sharedViewState.main"])
    assert {f"metrics.`{name}`" for name in in_front} <= {*view["selectedColumns"]}


@pytest.fixture
def elsewhere(root, tmp_path, monkeypatch):
    """A project with another data set, whose categories have other names, and the registry of ``whole``; no model."""
    folder = toy.write_settings(tmp_path / "elsewhere")
    scenes = [
        replace(record, regions=tuple(replace(each, category=f"odd {each.category}") for each in record.regions))
        for record in toy.scenes()
    ]
    names = tuple(f"odd {name}" for name in toy.card().categories)
    card = replace(toy.card(), name="odd scenes", categories=names, keypoints={})
    write_dataset(scenes, card, folder / "data" / "records", 100)
    tasks = [task for task in TASKS.values() if task.name != "rec_keypoints"]
    instructions = [each for record in scenes for each in render(record, card, tasks, 2, seed=3)]
    write_instructions(folder / "data" / "instructions", instructions)
    toy.put_database(folder, root / "mlruns" / "mlflow.db")
    return folder


def test_another_model_is_evaluated_on_this_data_in_a_new_run(elsewhere, root):
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{elsewhere / 'mlruns' / 'mlflow.db'}")
    training = json.loads((root / "models" / "train" / "run.json").read_text())["run_id"]
    before = client.get_run(training).data
    (elsewhere / "predictions").mkdir()
    (elsewhere / "predictions" / "train.parquet").write_bytes(b"answers of an earlier model")
    evaluate.run(toy.settings(evaluate__model="models:/vilam@champion"), elsewhere)
    metrics = json.loads((elsewhere / "metrics" / "evaluate.json").read_text())
    assert set(metrics) == {"other"}
    assert [path.name for path in (elsewhere / "predictions").iterdir()] == ["other.parquet"]
    rows = pd.read_parquet(elsewhere / "predictions" / "other.parquet")
    named = rows[rows["task"] == "reg_class"]["answer"]
    assert len(named) and set(named) <= {f"odd {name}" for name in toy.card().categories}
    assert client.get_run(training).data.metrics == before.metrics and before.tags == client.get_run(training).data.tags
    (run,) = client.search_runs(["1"], "tags.evaluated_model = 'models:/vilam/1'")
    assert run.data.metrics["scores/rec_box/miou"] == metrics["other"]["rec_box/miou"]
    assert (run.data.tags["trained_on"], run.data.tags["data_set"]) == ("scenes", "odd scenes")
    assert run.data.params["evaluate.model"] == "models:/vilam@champion"
    page = (elsewhere / "reports" / "index.html").read_text()
    assert "another model" in page and "models:/vilam/1" in page and "after train" not in page


def test_a_model_folder_is_evaluated_but_cannot_be_registered(elsewhere, root):
    shutil.copytree(root / "models" / "train", elsewhere / "models" / "train")
    evaluate.run(toy.settings(evaluate__model="models/train", evaluate__tasks=["reg_class"]), elsewhere)
    with pytest.raises(VilamError, match=r"evaluate\.json: of another model than models/train: set evaluate\.model to"):
        register.run(toy.settings(), elsewhere)
    assert not (elsewhere / "metrics" / "register.json").exists()


@pytest.mark.parametrize("processes", [1, 2])  # the error is reported before processes are started
@pytest.mark.parametrize(
    ("model", "line"), [("nowhere", "no model in .*nowhere: name a model folder"), ("models:/vilam@chief", "not found")]
)
def test_a_missing_other_model_is_reported(elsewhere, model, line, processes):
    with pytest.raises(VilamError, match=f"^evaluate.model {model}: .*{line}") as caught:
        evaluate.run(toy.settings(evaluate__model=model, evaluate__processes=processes), elsewhere)
    assert "\n" not in str(caught.value) and not (elsewhere / "metrics").exists()


def test_only_the_first_images_are_evaluated(root):
    own = toy.settings().evaluate
    chosen = evaluate.instructions_of(Layout(root), replace_max(own, 1))
    assert len({each.image_id for each in chosen}) == 1
    every = [each for each in read_instructions(root / "data" / "instructions", "test") if each.task in ALL_TASKS]
    assert evaluate.instructions_of(Layout(root), replace_max(own, 99)) == every


def test_images_that_were_trained_on_do_not_count_among_the_first(root):
    own = toy.settings().evaluate
    ids = list(dict.fromkeys(each.image_id for each in evaluate.instructions_of(Layout(root), replace_max(own, 99))))
    chosen = evaluate.instructions_of(Layout(root), replace_max(own, 1), {ids[0]})
    assert {each.image_id for each in chosen} == {ids[1]}
    with pytest.raises(VilamError, match="every image of the split 'test' was trained on"):
        evaluate.instructions_of(Layout(root), own, {*ids})


def test_the_first_images_of_each_split_are_evaluated(root):
    questions = {
        split: evaluate.instructions_of(Layout(root), replace_max(toy.settings(evaluate__splits=split).evaluate, 1))
        for split in (("val",), ("test",), ("test", "val"))
    }
    assert questions["test", "val"] == [*questions["test",], *questions["val",]]
    assert {each.split for each in questions["test", "val"]} == {"test", "val"}


def replace_max(own: EvaluateSettings, count: int) -> EvaluateSettings:
    return own.model_copy(update={"max_images": count})


def test_round_trip_questions_use_the_generated_expression(root):
    captions = [
        each for each in evaluate.instructions_of(Layout(root), toy.settings().evaluate) if each.task == "reg_caption"
    ]
    predictions = [Prediction(captions[0], "the odd thing", 0.5), Prediction(captions[1], "  ", 0.5)]
    records = RecordStore(root / "data" / "records", "test")
    questions = round_trip_questions(predictions, records)
    assert [each.instruction_id for each in questions] == [captions[0].instruction_id]
    expected = replace(captions[0], task="rec_box", question=questions[0].question, expression="the odd thing")
    assert questions[0] == expected and "the odd thing" in questions[0].question


def test_an_unknown_split_is_reported(tmp_path):
    with pytest.raises(VilamError, match="testA"):
        evaluate.run(toy.settings(evaluate__splits=["test", "testA"]), toy.write_project(tmp_path))


def test_a_missing_model_is_reported(root, tmp_path):
    toy.write_project(tmp_path)
    shutil.copytree(root / "models" / "activate", tmp_path / "models" / "activate")
    with pytest.raises(VilamError, match=r"models/train: no trained model here"):
        evaluate.run(toy.settings(), tmp_path)
    assert not (tmp_path / "metrics").exists()
