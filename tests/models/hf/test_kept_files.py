"""The small files of a checkpoint in the folders that hold its trained weights."""

from __future__ import annotations

import copy
import json
import pickle
from pathlib import Path

import hf_checkpoints
import pytest
import toy
from huggingface_hub import constants
from PIL import Image

from vilam.models.build import LoadedModel, build_model, build_tokenizer, load_model, save_model
from vilam.models.hf import folder as hf_folder
from vilam.models.hf.kept_files import read_kept
from vilam.models.hf.processors import open_processor

VIDEOS = {"num_frames": 64, "video_processor_type": "SmolVLMVideoProcessor"}
BESIDE = {
    "vocab.json": b'{"a": 0}',
    "merges.txt": b"a b\n",
    "added_tokens.json": b"{}",
    "tokenizer.model": b"\x00\x01",
    "chat_template.json": b'{"chat_template": "{{ messages }}"}',
    "LICENSE": b"Apache-2.0",
}
"""Files that checkpoints come with and that vilam does not write."""
NOT_KEPT = ("README.md", "pytorch_model.bin", "model.safetensors.index.json", "adapter_config.json", "modeling.py")


def trained(source: Path, folder: Path) -> LoadedModel:
    """A checkpoint as vilam opens it, saves it into a folder and opens it again."""
    settings = toy.settings(model__checkpoint=str(source), model__vision__frozen=True).model
    tokenizer = build_tokenizer(settings, ())
    model = build_model(settings, tokenizer, 0)
    save_model(LoadedModel(model, tokenizer, toy.card(), {"stage": "train"}), folder)
    return load_model(folder)


def contents(folder: Path) -> dict[str, bytes]:
    """The content of each file by its name."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def test_every_small_file_is_in_saved_folders_and_exports(tmp_path):
    source = tmp_path / "source"
    hf_checkpoints.HF_CHECKPOINTS["blip2-opt"](source)
    before = contents(source)
    for name, content in BESIDE.items():
        (source / name).write_bytes(content)
    kept = read_kept(str(source))
    for name in NOT_KEPT[2:]:
        assert name not in kept
    loaded = trained(source, tmp_path / "saved")
    hf_folder.export(loaded.network, loaded.tokenizer, tmp_path / "out")
    for made in map(contents, (tmp_path / "saved", tmp_path / "out")):
        assert all(made[name] == content for name, content in BESIDE.items())
        assert {name for name in before if not name.startswith("model")} <= made.keys()
        assert made["tokenizer.json"] == before["tokenizer.json"]
        assert json.loads(made["generation_config.json"]) == json.loads(before["generation_config.json"])
    ours = {"README.md", "vilam_hf.json", "run.json", "card.json", "seen_images.txt"}
    assert not ours & contents(tmp_path / "out").keys()


def test_weights_code_and_cards_are_not_kept(tmp_path):
    for name in NOT_KEPT:
        (tmp_path / name).write_text("{}")
    (tmp_path / "onnx").mkdir()
    assert read_kept(str(tmp_path)) == {}


def test_files_of_a_name_on_the_hub_are_those_of_its_snapshot(tmp_path, monkeypatch):
    """As the hub's own client keeps them; nothing is asked for."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    root = tmp_path / "models--someone--something"
    (root / "snapshots" / "abc" / "onnx").mkdir(parents=True)
    (root / "refs").mkdir()
    (root / "refs" / "main").write_text("abc")
    for name in ("config.json", "video_preprocessor_config.json", "model.safetensors", "onnx/config.json"):
        (root / "snapshots" / "abc" / name).write_text(f'"{name}"')
    assert read_kept("someone/something") == {
        "config.json": b'"config.json"',
        "video_preprocessor_config.json": b'"video_preprocessor_config.json"',
    }


@pytest.mark.parametrize("name", ["qwen2.5-vl", "qwen3-vl", "smolvlm"])
@pytest.mark.parametrize("layout", ["nested", "file", "images"])
def test_settings_for_videos_are_where_the_checkpoint_had_them(name, layout, tmp_path):
    """In processor_config.json, in a file of their own, or those for images; also after a second training."""
    source = tmp_path / "source"
    hf_checkpoints.HF_CHECKPOINTS[name](source)
    images = json.loads((source / "preprocessor_config.json").read_text())
    settings = json.loads((source / "processor_config.json").read_text())
    settings.pop("video_processor", None)
    (source / "video_preprocessor_config.json").unlink(missing_ok=True)
    if layout == "nested":
        settings["video_processor"] = VIDEOS
    (source / "processor_config.json").write_text(json.dumps(settings))
    if layout == "file":
        (source / "video_preprocessor_config.json").write_text(json.dumps(VIDEOS))
    trained(source, tmp_path / "first")
    loaded = trained(tmp_path / "first", tmp_path / "second")
    hf_folder.export(loaded.network, loaded.tokenizer, tmp_path / "out")
    for folder in ("first", "second", "out"):
        made = {key: json.loads(value) for key, value in contents(tmp_path / folder).items() if key.endswith(".json")}
        found = made["processor_config.json"].get("video_processor") or made["video_preprocessor_config.json"]
        assert found == (images if layout == "images" else VIDEOS)
        own = made["processor_config.json"]["image_processor"]
        assert own.items() <= made["preprocessor_config.json"].items()  # transformers 4 reads the second


def test_the_settings_of_images_are_the_trained_model_s(tmp_path):
    """LLaVA's pad where the checkpoint's crop, in the file of transformers 4 too."""
    hf_checkpoints.HF_CHECKPOINTS["llava"](tmp_path / "source")
    trained(tmp_path / "source", tmp_path / "saved")
    made = json.loads((tmp_path / "saved" / "preprocessor_config.json").read_text())
    assert made["do_pad"] and not made["do_center_crop"] and made["image_processor_type"] == "LlavaImageProcessor"


@pytest.mark.parametrize(("name", "model_type"), [("qwen3-vl", "qwen3_vl"), ("smolvlm", "smolvlm")])
def test_a_processor_without_videos_has_its_name_and_can_be_copied(name, model_type, tmp_path):
    """As pickle and copy do for other processes."""
    hf_checkpoints.HF_CHECKPOINTS[name](tmp_path)
    processor = open_processor(str(tmp_path), model_type)
    assert processor.to_dict()["processor_class"] == f"{type(processor).__mro__[1].__name__}"
    text, image = "<|image_pad|>" if name == "qwen3-vl" else "<image>", Image.new("RGB", (70, 50), "red")
    ids = [
        each(text=[text], images=[[image]], return_tensors="pt")["input_ids"].tolist()
        for each in (processor, copy.deepcopy(processor), pickle.loads(pickle.dumps(processor)))
    ]
    assert ids[0] == ids[1] == ids[2] and len(ids[0][0]) > 1
