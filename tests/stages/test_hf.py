"""Hugging Face VLMs in all stages (see tests/runs.py), and the errors of the stages."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import hf_checkpoints
import pandas as pd
import pytest
import torch
import toy
from huggingface_hub import constants
from PIL import Image
from transformers import AutoModelForImageTextToText

from vilam.commands.export import export
from vilam.errors import VilamError
from vilam.inference.predictor import GroundingResult, Predictor
from vilam.models.backbones.adapters import ADAPTER, BASE
from vilam.models.build import LoadedModel, build_model, build_tokenizer, load_model, save_model
from vilam.models.hf.processors import open_processor
from vilam.models.interface import PARTS
from vilam.stages import activate
from vilam.training.engine import parameter_groups

Weights = dict[str, torch.Tensor]
POINTING = ("hf-kosmos-2", "hf-paligemma", "hf-qwen2.5-vl")
"""Projects whose model is also asked for keypoints and masks."""
UNUSED = ("qformer.encoder.layer.1.intermediate.", "qformer.encoder.layer.1.output.")
"""The output of these layers of InstructBLIP for the question is not used."""
OURS = {"vilam_hf.json", "adapters.safetensors", "run.json", "README.md", "manifest.json"}


def weights_of(model: torch.nn.Module) -> Weights:
    """All weights except adapters, by the names that they have without adapters."""
    return {name.replace(BASE, ""): value for name, value in model.state_dict().items() if ADAPTER not in name}


def opened(folder: Path) -> tuple[Any, dict[str, Any]]:
    """The model that transformers alone load from a folder, and their report on its weights."""
    model, report = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32, output_loading_info=True)
    return model, report


@pytest.fixture(scope="module", params=list(hf_checkpoints.HF_CHECKPOINTS))
def folder(projects: Path, request: pytest.FixtureRequest) -> Path:
    """The project of each checkpoint."""
    return projects / f"hf-{request.param}"


@pytest.fixture(scope="module")
def settings(folder: Path) -> dict[str, Any]:
    """The settings of the project."""
    return {**toy.HF, **toy.HF_RUNS[folder.name.removeprefix("hf-")]}


@pytest.fixture(scope="module")
def trained(folder: Path) -> LoadedModel:
    """The model of phase 2."""
    return load_model(folder / "models" / "train")


@pytest.fixture(scope="module")
def first(folder: Path) -> Weights:
    """The weights of the checkpoint."""
    return weights_of(opened(folder / "checkpoint")[0])


def test_frozen_weights_are_those_of_the_checkpoint(settings, trained, first):
    found = weights_of(trained.network.vlm)
    assert found.keys() == first.keys()
    frozen = {name for name in first if trained.network.architecture.part(name) in trained.network.frozen}
    assert bool(frozen) == settings["model__vision__frozen"]
    assert all(torch.equal(found[name], first[name]) for name in frozen)


def test_other_weights_have_changed_in_both_phases(folder, trained, first):
    model = trained.network
    before = load_model(folder / "models" / "activate").network.state_dict()
    own = {f"vlm.{name}" for name, each in model.vlm.named_parameters() if each.requires_grad}
    start = {f"vlm.{name}": value for name, value in first.items()}
    for earlier, later in ((start, before), (before, model.state_dict())):
        same = {name for name in own & earlier.keys() if torch.equal(earlier[name], later[name])}
        assert all(name.removeprefix("vlm.").startswith(UNUSED) for name in same)
    adapters = {name for name in own if ADAPTER in name}
    assert (model.lora is not None) == bool(adapters)
    parts = {model.architecture.part(name.removeprefix("vlm.")) for name in own - adapters}
    assert parts == set(PARTS) - set(model.frozen)


def test_the_cycle_was_trained(folder):
    metrics = json.loads((folder / "metrics" / "train.json").read_text())
    assert metrics["steps"] == toy.BRIEF["steps"] and metrics["images"] == metrics["steps"] * toy.RUN["batch_size"]
    assert metrics["val_loss"] > 0 and 0 < metrics["cycle_confidence"] <= 1 and metrics["cycle_num_words"] >= 1


def test_the_model_is_evaluated(folder, settings):
    scores = json.loads((folder / "metrics" / "evaluate.json").read_text())
    trained = ["activate", "train"] if settings["evaluate__include_activate"] else ["train"]
    assert [*scores] == [*(["zero_shot"] if "evaluate__zero_shot" in settings else []), *trained]
    for metrics in scores.values():
        assert metrics["rec_box/invalid"] == metrics["reg_class/invalid"] == 0
        assert 0 <= metrics["rec_box/acc_0.5"] <= 1 and 0 <= metrics["reg_class/accuracy"] <= 1
        assert metrics["reg_caption/cider"] >= 0
        assert {name.partition("/")[0] for name in metrics} >= set(settings["evaluate__tasks"])
    assert any((folder / "reports").iterdir())


def test_answers_are_in_pixels_of_the_image_and_reproducible(folder):
    predictor = Predictor.from_pretrained(folder / "models" / "train")
    with Image.open(BytesIO(toy.scenes()[0].image)) as image:
        wide = image.convert("RGB").resize((90, 40))
    box = (10.0, 5.0, 60.0, 30.0)
    found = [predictor.locate(wide, "the red circle"), predictor.classify(wide, box), predictor.describe(wide, box)]
    assert found[0].box_xyxy is not None and found[1].words in toy.card().categories and found[2].words
    if folder.name in POINTING:
        found += [predictor.keypoints(wide, "the red circle"), predictor.segment(wide, "the red circle")]
        assert found[3].points and found[4].polygons
    assert found[0] == predictor.locate(wide, "the red circle")
    assert found[2] == predictor.describe(wide, box)
    for each in found:
        assert 0 < each.confidence <= 1
        assert all(0 <= x <= 90 and 0 <= y <= 40 for x, y in points_of(each)), each


def points_of(found: GroundingResult) -> Iterator[tuple[float, float]]:
    """All points of an answer."""
    if found.box_xyxy is not None:
        x1, y1, x2, y2 = found.box_xyxy
        assert x1 < x2 and y1 < y2
        yield from ((x1, y1), (x2, y2))
    yield from found.points or ()
    for polygon in found.polygons or ():
        yield from polygon


def test_the_card_has_the_model_type_and_the_numbers_of_parameters(folder, trained):
    text = (folder / "models" / "train" / "README.md").read_text()
    assert f"A {trained.network.config.model_type} of transformers" in text
    for part, weights in trained.network.parts().items():
        row = next(line for line in text.splitlines() if line.startswith(f"| {part} "))
        count, own = sum(each.numel() for each in weights), sum(each.numel() for each in weights if each.requires_grad)
        assert row.startswith(f"| {part} | checkpoint |") and row.endswith(f"| {count:,} | {own:,} |")


def test_transformers_alone_can_open_the_model(folder, trained):
    made = folder / "models" / "train"
    assert not [file for file in made.rglob("*") if file.suffix in (".bin", ".pt", ".pth", ".pkl", ".ckpt")]
    names = {file.name for file in made.glob("*.safetensors")} - {"adapters.safetensors"}
    assert names and all(name.startswith("model") for name in names)
    alone, report = opened(made)
    assert type(alone) is type(trained.network.vlm) and not any(report.values())
    kept, found = weights_of(trained.network.vlm), alone.state_dict()
    assert found.keys() == kept.keys() and all(torch.equal(found[name], kept[name]) for name in kept)
    processor = open_processor(str(made), trained.network.config.model_type)
    assert processor.tokenizer.get_vocab() == trained.tokenizer.tokenizer.get_vocab()


def test_a_trained_hugging_face_vlm_is_a_teacher(projects):
    folder = projects / "hf-paligemma"
    metrics = json.loads((folder / "metrics" / "synthesize.json").read_text())["teacher"]
    assert metrics["model"].startswith("models/train sha256:")
    assert metrics["num_samples"] == 4 * metrics["num_regions"] > 0
    rows, before = (
        pd.read_parquet(folder / "data" / f"instructions{end}" / "train.parquet") for end in ("", "-before")
    )
    generated = rows[rows["expression_source"] == "model"]
    assert len(generated[generated["task"] == "rec_box"]) == metrics["num_expressions"] > 0
    assert (
        set(generated["expression_model"]) == {metrics["model"]} and not (before["expression_source"] == "model").any()
    )
    assert generated["expression_round_trip_iou"].between(0.02, 1).all()
    assert not generated["expression"].str.contains(r"[0-9<>\[\]]").any()


def test_two_processes_trained_one_model(projects):
    assert [path.name for path in sorted((projects / "hf-llava").glob("log-*.txt"))] == [
        "log-0.txt",
        "log-1.txt",
        "log-2.txt",
    ]


@pytest.mark.parametrize("name", ["blip2-t5", "qwen3-vl", "smolvlm"])
def test_an_export_opens_with_transformers_and_has_merged_adapters(projects, tmp_path, name, capsys):
    source = projects / f"hf-{name}" / "models" / "train"
    export(str(source), tmp_path / "out", tmp_path)
    assert f"{tmp_path / 'out'}: A " in capsys.readouterr().out
    assert not OURS & {file.name for file in (tmp_path / "out").iterdir()}
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    alone, report = opened(tmp_path / "out")
    assert not any(report.values())
    model, found = load_model(source).network, alone.state_dict()
    kept = weights_of(model.vlm)
    changed = {key.removesuffix(".weight") for key in kept if not torch.equal(kept[key], found[key])}
    adapted = {key.partition(f".{ADAPTER}")[0] for key in model.vlm.state_dict() if ADAPTER in key}
    assert found.keys() == kept.keys() and changed == adapted


def test_an_export_into_an_existing_folder_is_refused(projects, tmp_path):
    (tmp_path / "out").mkdir()
    with pytest.raises(VilamError, match=r"out: exists: name a new folder$"):
        export(str(projects / "hf-smolvlm" / "models" / "train"), tmp_path / "out", tmp_path)
    assert not list((tmp_path / "out").iterdir())


def test_an_export_of_a_composed_model_is_refused(tmp_path):
    save_model(LoadedModel(toy.model(), toy.tokenizer(), toy.card(), {}), tmp_path / "composed")
    with pytest.raises(VilamError, match=r"composed: a composed model, .*: use it with vilam$"):
        export(str(tmp_path / "composed"), tmp_path / "out", tmp_path)
    assert not (tmp_path / "out").exists()


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project without a connection to any hub, in which training fails the test."""
    monkeypatch.chdir(toy.write_project(tmp_path / "project"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(activate, "train_stage", lambda *_: pytest.fail("it was trained"))
    return tmp_path / "project"


def refusal(project: Path, **changes: Any) -> str:
    """The error of `activate`; nothing is left behind."""
    before = {path: path.stat().st_mtime_ns for path in project.rglob("*")}
    with pytest.raises(VilamError) as caught:
        activate.run(toy.settings(**{**toy.HF, **changes}), project)
    assert {path: path.stat().st_mtime_ns for path in project.rglob("*")} == before
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("name", ["nowhere", "data", "Qwen/Qwen2.5-VL-3B-Instruct"])
def test_a_missing_checkpoint_is_refused(project, name):
    line = refusal(project, model__checkpoint=name)
    assert line.startswith(f"model.checkpoint {name}: cannot be loaded: ")
    for file in ("config.json", "*.safetensors", "tokenizer.json", "preprocessor_config.json"):
        assert file in line.rpartition(": put its ")[2]
    assert line.endswith(" into a folder and name that")


@pytest.mark.parametrize("model_type", ["idefics2", "llama"])
def test_an_unknown_architecture_is_refused(project, model_type):
    (project / "checkpoint").mkdir()
    (project / "checkpoint" / "config.json").write_text(json.dumps({"model_type": model_type}))
    line = refusal(project)
    assert line.startswith(f"model.checkpoint checkpoint: cannot be loaded: the coordinate format of {model_type}")
    assert "choose one of blip-2, " in line


def test_a_truncated_or_missing_shard_is_refused(project):
    hf_checkpoints.HF_CHECKPOINTS["smolvlm"](project / "checkpoint")
    shard = sorted((project / "checkpoint").glob("*.safetensors"))[1]
    shard.write_bytes(shard.read_bytes()[:-100])
    line = refusal(project)
    assert line.startswith("model.checkpoint checkpoint: cannot be loaded: ") and "*.safetensors" in line
    shard.unlink()
    assert shard.name in refusal(project)


@pytest.mark.parametrize("name", ["blip2-opt", "instructblip-vicuna", "llava", "smolvlm"])
def test_a_processor_without_the_number_of_image_tokens_is_refused(project, name):
    """BLIP-2 would be trained without any image."""
    hf_checkpoints.HF_CHECKPOINTS[name](project / "checkpoint")
    (project / "checkpoint" / "processor_config.json").unlink()
    assert "processor_config.json" in refusal(project)


@pytest.mark.parametrize("name", ["instructblip-vicuna", "instructblip-t5"])
def test_a_qformer_without_its_tokenizer_is_refused(project, name):
    hf_checkpoints.HF_CHECKPOINTS[name](project / "checkpoint")
    shutil.rmtree(project / "checkpoint" / "qformer_tokenizer")
    assert "qformer_tokenizer" in refusal(project)


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"train__cycle__mode": "soft"}, "train.cycle.mode soft .*: set model.checkpoint to null$"),
        ({"model__vision__cache": True}, "model: vision.cache .*: set it to false$"),
        ({"model__language__frozen": False, "model__language__lora": toy.LORA}, "lora .*: set frozen to true, or lora"),
        ({"model__freeze_aligner": True}, "model: .*nothing is trained.*: "),
    ],
)
def test_settings_that_contradict_a_hugging_face_vlm_are_refused(changes, line):
    with pytest.raises(VilamError, match=f"^params.yaml: .*{line}") as caught:
        toy.settings(**{**toy.HF, **changes})
    assert "\n" not in str(caught.value)


def test_adapters_for_missing_layers_are_refused(project):
    hf_checkpoints.HF_CHECKPOINTS["smolvlm"](project / "checkpoint")
    line = refusal(project, model__language__lora={**toy.LORA, "targets": ["query"]})
    assert "model.language.lora: no layer " in line and line.endswith(" is called query")


@pytest.mark.parametrize("name", list(hf_checkpoints.HF_CHECKPOINTS))
def test_an_alignment_layer_can_be_trained_alone(tmp_path, name):
    """SmolVLM's is a single matrix, so the group without weight decay is empty; DeepSpeed removes empty groups."""
    hf_checkpoints.HF_CHECKPOINTS[name](tmp_path)
    settings = toy.settings(**{**toy.HF, "model__checkpoint": str(tmp_path)}).model
    groups = parameter_groups(build_model(settings, build_tokenizer(settings, []), 0), 0.1)
    assert groups and all(group["params"] for group in groups)
