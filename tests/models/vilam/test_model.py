"""The composed model: packing, any tower and language model, losses, frozen parts, saving and loading."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import toy
from hybrids import HYBRIDS
from torch import Tensor
from transformers import AutoConfig, AutoModel, AutoModelForImageTextToText

from vilam.cycle.examples import Example
from vilam.models.build import LoadedModel, load_model, save_model
from vilam.models.vilam.grounder import patch_weights
from vilam.models.vilam.model import VilamForConditionalGeneration, register_auto_classes
from vilam.models.vilam.text import PackedText
from vilam.training.batching import Batch, collate

SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
LANGUAGES: dict[str, dict[str, Any]] = {
    "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 256},
    "opt": {**SMALL, "ffn_dim": 64, "word_embed_proj_dim": 32, "max_position_embeddings": 256},
    "qwen2": {**SMALL, "intermediate_size": 64, "num_key_value_heads": 1},
    "qwen3": {**SMALL, "intermediate_size": 64, "num_key_value_heads": 1, "head_dim": 16},
    "gpt_neox": {**SMALL, "intermediate_size": 64},
    "phi": {**SMALL, "intermediate_size": 64},
    "mistral": {**SMALL, "intermediate_size": 64, "num_key_value_heads": 1},
}
VISIONS: dict[str, dict[str, Any]] = {
    "vit": {**SMALL, "intermediate_size": 64, "image_size": toy.IMAGE_SIZE, "patch_size": 16},
    "clip_vision_model": {**SMALL, "intermediate_size": 64, "image_size": toy.IMAGE_SIZE, "patch_size": 16},
    "siglip_vision_model": {**SMALL, "intermediate_size": 64, "image_size": toy.IMAGE_SIZE, "patch_size": 16},
    "dinov2": {**SMALL, "image_size": toy.IMAGE_SIZE, "patch_size": 16},
    "convnext": {"hidden_sizes": [8, 16], "depths": [1, 1], "num_stages": 2},
    "resnet": {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1], "layer_type": "basic"},
}


def tower(model_type: str, config: dict[str, Any]) -> dict[str, Any]:
    return {"checkpoint": None, "model_type": model_type, "config": config, "frozen": False}


def batch(per_image: int = 4, coordinates: str = "token", num_images: int = 2, weight: float = 1.0) -> Batch:
    """A few instructions of all kinds of each of a few images."""
    chosen = toy.scenes()[:num_images]
    examples = [
        [Example(each, weight) for each in toy.instructions() if each.image_id == record.image_id][::7][:per_image]
        for record in chosen
    ]
    return collate(toy.with_grammars(coordinates=coordinates), [record.image for record in chosen], examples)


def text_logits(model: VilamForConditionalGeneration, packed: Batch) -> Tensor:
    """(B, L, tokens)."""
    with torch.no_grad():
        logits = model(**packed.inputs).logits
    return logits.unflatten(0, packed.inputs["input_ids"].shape)


def alone(model: VilamForConditionalGeneration, packed: Batch, row: int, number: int) -> Tensor:
    """The logits of one instruction of one image without any other."""
    ids = packed.inputs["input_ids"][row, packed.inputs["segments"][row] == number].unsqueeze(0)
    with torch.no_grad():
        return model(packed.inputs["pixel_values"][row : row + 1], ids, torch.ones_like(ids)).logits


def assert_packed_is_alone(model: VilamForConditionalGeneration, packed: Batch) -> None:
    logits = text_logits(model, packed)
    assert float(logits.std()) > 1e-3
    for row in range(len(packed.inputs["input_ids"])):
        for number in range(1, int(packed.inputs["segments"][row].max()) + 1):
            found = logits[row, packed.inputs["segments"][row] == number]
            torch.testing.assert_close(found, alone(model, packed, row, number), atol=5e-5, rtol=1e-3)


@pytest.mark.parametrize("attention", ["lean", "eager", "sdpa"])
@pytest.mark.parametrize("aligner", ["mlp", "qformer", "resampler"])
def test_packed_instructions_have_the_same_logits_as_alone(aligner, attention):
    assert_packed_is_alone(toy.model(aligner=aligner, attention=attention), batch())


@pytest.mark.parametrize("coordinates", ["token", "text"])
@pytest.mark.parametrize("name", LANGUAGES)
def test_packing_works_with_any_language_model(name, coordinates):
    model = toy.model(language=tower(name, LANGUAGES[name]), coordinates=coordinates)
    assert_packed_is_alone(model, batch(3, coordinates))


@pytest.mark.parametrize("name", HYBRIDS)
def test_hybrid_language_models_read_each_instruction_for_itself(name):
    model = toy.model(language=tower(name, HYBRIDS[name]))
    assert model.config.sharing == "fork"
    assert_packed_is_alone(model, batch(3))


@pytest.mark.parametrize("name", HYBRIDS)
def test_forked_gradients_are_those_of_rows(name):
    model, packed = toy.model(language=tower(name, HYBRIDS[name])).train(), batch(3)
    gradients = []
    for sharing in ("fork", "rows"):
        model.zero_grad()
        if sharing == "rows":
            model.enable_gradient_checkpointing()
        model(**packed.inputs, labels=packed.labels).loss.backward()
        gradients.append({name: one.grad.clone() for name, one in model.named_parameters() if one.grad is not None})
    forked, rows = gradients
    assert forked.keys() == rows.keys() and len(rows) > 20
    size = torch.stack([one.norm() for one in rows.values()]).norm()
    assert torch.stack([(rows[name] - one).norm() for name, one in forked.items()]).norm() < 1e-4 * size


@pytest.mark.parametrize("name", ["llama", "gpt2"])
def test_a_pretrained_language_model_reads_as_in_its_training(name):
    """A first token, then patches counted as words, then the text; at first, words have its own logits."""
    model = toy.pretrained(**({"language": tower(name, LANGUAGES[name])} if name in LANGUAGES else {}))
    packed = batch(2)
    ids, segments = packed.inputs["input_ids"], packed.inputs["segments"]
    assert_packed_is_alone(model, packed)
    count = model.config.first_coordinate
    boxes = (ids == count).cumsum(1)
    for row in range(len(ids)):
        outside = (segments[row] == 1) & (boxes[row] == 0)  # tokens after a box hold what is inside it
        assert outside.sum() > 3
        with torch.no_grad():
            prefix = model.encode_images(packed.inputs["pixel_values"][row : row + 1])
            first = model.get_input_embeddings()(torch.tensor([[model.config.first_token]]))
            read = torch.cat([first, prefix, model.embed(ids[row : row + 1, outside])], dim=1)
            expected = model.language(inputs_embeds=read).logits[0, -int(outside.sum()) :]
        found = text_logits(model, packed)[row, outside]
        torch.testing.assert_close(found[:, :count], expected[:, :count], atol=5e-5, rtol=1e-3)


@pytest.mark.parametrize("name", VISIONS)
def test_packing_and_learning_work_with_any_vision_tower(name):
    model = toy.model(vision=tower(name, VISIONS[name]))
    packed = batch(2)
    assert_packed_is_alone(model, packed)
    model(*packed.inputs.values(), packed.labels).loss.backward()
    assert any(weight.grad is not None and weight.grad.abs().sum() > 0 for weight in model.vision.parameters())


def test_the_order_of_instructions_does_not_matter():
    model = toy.model()
    record = toy.scenes()[0]
    examples = [Example(each) for each in toy.instructions() if each.image_id == record.image_id][::9][:4]
    packs = [collate(toy.with_grammars(model), [record.image], [each]) for each in (examples, examples[::-1])]
    logits = [text_logits(model, packed)[0] for packed in packs]
    for number in range(1, 5):
        before = logits[0][packs[0].inputs["segments"][0] == number]
        after = logits[1][packs[1].inputs["segments"][0] == 5 - number]
        torch.testing.assert_close(after, before, atol=1e-5, rtol=1e-4)


def test_labelled_logits_are_those_of_the_token_before():
    model, packed = toy.model(), batch()
    every = text_logits(model, packed)
    with torch.no_grad():
        output = model(*packed.inputs.values(), packed.labels)
    rows, columns = (packed.labels != -100).nonzero(as_tuple=True)
    torch.testing.assert_close(output.logits, every[rows, columns - 1], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("coordinates", ["token", "text"])
def test_loss_is_the_mean_cross_entropy_of_the_answers(coordinates):
    model, packed = toy.model(coordinates=coordinates), batch(coordinates=coordinates)
    every = text_logits(model, packed)
    with torch.no_grad():
        output = model(*packed.inputs.values(), packed.labels)
    expected = torch.nn.functional.cross_entropy(every[:, :-1].flatten(0, 1), packed.labels[:, 1:].flatten())
    torch.testing.assert_close(output.loss, expected, atol=1e-5, rtol=1e-5)


def test_weights_and_totals_scale_the_loss():
    model, packed = toy.model(), batch()
    weights = torch.rand(packed.labels.shape, generator=torch.Generator().manual_seed(0))
    every = text_logits(model, packed)
    with torch.no_grad():
        arguments = (
            packed.inputs["pixel_values"],
            packed.inputs["input_ids"],
            packed.inputs["segments"],
            packed.labels,
            weights,
        )
        output, divided = model(*arguments), model(*arguments, totals=torch.tensor([10.0, 1.0]))
    losses = torch.nn.functional.cross_entropy(every[:, :-1].transpose(1, 2), packed.labels[:, 1:], reduction="none")
    outside = packed.labels[:, 1:] != -100
    summed = (losses * weights[:, 1:] * outside).sum()
    torch.testing.assert_close(output.loss, summed / (weights[:, 1:] * outside).sum(), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(divided.loss, summed / 10, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("part", ["vision", "aligner", "language"])
def test_a_frozen_part_stays_as_it_is(part):
    section = toy.params()["model"]
    changes = {"freeze_aligner": True} if part == "aligner" else {part: {**section[part], "frozen": True}}
    model, packed = toy.model(**changes), batch()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    optimiser = torch.optim.AdamW([weight for weight in model.parameters() if weight.requires_grad], lr=0.01)
    model(*packed.inputs.values(), packed.labels).loss.backward()
    optimiser.step()
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert changed and not [name for name in changed if name.startswith(f"{part}.")]
    parts = {"vision", "aligner", "language", "coordinates", "grounder"}
    assert {name.partition(".")[0] for name in changed} == parts - {part}


def test_the_pointing_loss_has_one_term_a_box():
    """For boxes of answers only, each with its own weight; computed again from the parts, box by box."""
    model, packed = toy.model(), batch(6)
    weights = torch.rand(packed.labels.shape, generator=torch.Generator().manual_seed(0))
    arguments = (
        packed.inputs["pixel_values"],
        packed.inputs["input_ids"],
        packed.inputs["segments"],
        packed.labels,
        weights,
    )
    with torch.no_grad():
        plain, pointing = (model(*arguments, pointing_weight=weight).loss for weight in (0.0, 0.5))
        prefix = model.encode_images(packed.inputs["pixel_values"])
        _, pointed = model.read(prefix, PackedText(packed.inputs["input_ids"], packed.inputs["segments"]))
    first, bins = model.config.first_coordinate, model.config.coordinate_bins
    losses, total = 0.0, 0.0
    for row, mark in (packed.labels == first).nonzero().tolist():  # the first coordinate token is <box>
        offsets = (packed.inputs["input_ids"][row, mark + 1 : mark + 5] - first - 3).tolist()
        box = torch.tensor([offset % bins / (bins - 1) for offset in offsets])
        target = patch_weights(box, pointed.shape[-1])
        losses -= float((target * pointed[row, mark]).sum() * weights[row, mark])
        total += float(weights[row, mark])
    assert total > 0
    assert float(pointing - plain) == pytest.approx(0.5 * losses / total, rel=1e-4)


def test_gradient_checkpointing_gives_the_same_gradients():
    packed = batch()
    gradients = []
    for checkpointing in (False, True):
        model = toy.model(vision=tower("vit", VISIONS["vit"])).train()
        if checkpointing:
            model.enable_gradient_checkpointing()
        calls: list[int] = []
        model.language.get_decoder().layers[0].self_attn.register_forward_hook(lambda *_, calls=calls: calls.append(1))
        model(*packed.inputs.values(), packed.labels).loss.backward()
        assert len(calls) == 1 + checkpointing  # computed again in the backward pass
        gradients.append({name: each.grad for name, each in model.named_parameters() if each.grad is not None})
    assert gradients[0].keys() == gradients[1].keys()
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient, atol=1e-6, rtol=1e-4)


def test_without_a_grounder_there_is_no_pointing_loss():
    model, packed = toy.model(grounder=False), batch()
    assert not [name for name in model.state_dict() if name.startswith("grounder")]
    arguments = (*packed.inputs.values(), packed.labels)
    with torch.no_grad():
        assert torch.equal(model(*arguments, pointing_weight=1.0).loss, model(*arguments).loss)
    assert_packed_is_alone(model, packed)


def test_the_image_in_a_box_changes_the_tokens_after_it():
    """With a grounder, the embeddings after a box depend on the image tokens inside it, without any attention."""
    model, tokenizer = toy.model(), toy.tokenizer()
    ids = torch.tensor([tokenizer.encode_question("What is in [0, 0, 500, 500]?")])
    segments = torch.ones_like(ids)
    prefix = torch.randn(1, 16, 32, generator=torch.Generator().manual_seed(0))
    other = prefix.clone()
    other[:, 10] += 1.0  # row 2, column 2 of 4 x 4: outside
    inside = prefix.clone()
    inside[:, 5] += 1.0
    with torch.no_grad():
        plain, outside, changed = (
            model.embed_text(each, PackedText(ids, segments)) for each in (prefix, other, inside)
        )
    end = (ids == model.config.first_coordinate).nonzero()[0, 1] + 4
    torch.testing.assert_close(outside, plain, atol=0.02, rtol=0)
    assert torch.equal(changed[:, :end], plain[:, :end])
    assert (changed[:, end:] - plain[:, end:]).min() > 0.3


def test_image_and_coordinate_tokens_begin_as_large_as_words():
    model = toy.model()
    prefix = model.encode_images(toy.pixels(4))
    words = model.get_input_embeddings().weight.detach()
    for tokens in (prefix.detach(), model.coordinates.table().detach()):
        assert 0.5 < float((tokens.square().mean() / words.square().mean()).sqrt()) < 2


def saved(model: VilamForConditionalGeneration, folder: Path, coordinates: str = "token") -> None:
    save_model(LoadedModel(model, toy.tokenizer(coordinates), toy.card(), {"stage": "train"}), folder)


@pytest.mark.parametrize("kind", ["token", "text", "gpt2", "qformer", "vit"])
def test_a_saved_model_has_the_same_logits(kind, tmp_path):
    changes: dict[str, Any] = {
        "text": {"coordinates": "text"},
        "gpt2": {"language": tower("gpt2", LANGUAGES["gpt2"])},  # its input and output embeddings are one matrix
        "qformer": {"aligner": "qformer"},
        "vit": {"vision": tower("vit", VISIONS["vit"])},
    }.get(kind, {})
    coordinates = changes.get("coordinates", "token")
    model, packed = toy.model(seed=5, **changes), batch(2, coordinates)
    expected = text_logits(model, packed)
    saved(model, tmp_path / "model", coordinates)
    assert not [file for file in (tmp_path / "model").iterdir() if file.suffix in (".bin", ".pt", ".pkl")]
    opened = load_model(tmp_path / "model")
    assert opened.network.config.attention == model.config.attention
    assert torch.equal(text_logits(opened.network, packed), expected)
    assert opened.card == toy.card() and opened.info == {"stage": "train"}
    assert opened.tokenizer.encode("[10, 20, 30, 40]") == toy.tokenizer(coordinates).encode("[10, 20, 30, 40]")


def test_auto_classes_open_a_saved_model(tmp_path):
    model, packed = toy.model(seed=5), batch(2)
    expected = text_logits(model, packed)
    saved(model, tmp_path / "model")
    register_auto_classes()
    config = AutoConfig.from_pretrained(tmp_path / "model")
    assert config.model_type == "vilam" and config.vision_config.model_type == "vilam_tower"
    for auto in (AutoModel, AutoModelForImageTextToText):
        opened = auto.from_pretrained(tmp_path / "model").eval()
        assert isinstance(opened, VilamForConditionalGeneration)
        assert torch.equal(text_logits(opened, packed), expected)


def test_the_same_seed_makes_the_same_model():
    first, second, other = (toy.model(seed=seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)
