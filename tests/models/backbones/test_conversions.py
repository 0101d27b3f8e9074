"""Conversions: the converted folder computes the same as the original weights."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, AutoTokenizer, Dinov2Config, Dinov2Model

from vilam.errors import VilamError
from vilam.models.backbones.checkpoints import PACKAGED, local_checkpoint
from vilam.models.backbones.conversions import IMAGENET, onnx_dinov2
from vilam.models.backbones.images import pixel_statistics
from vilam.models.vilam.model import register_auto_classes

HUB_NAMES = {"q_proj": "attention.query", "k_proj": "attention.key", "v_proj": "attention.value"}
"""The hub's names of a DINOv2's attention, by those of transformers 5; the output is ``output.dense``."""


def write_graph(model: Dinov2Model, path: Path) -> None:
    """Writes the weights of a model as an ONNX export names them; the graph has only the nodes with weights."""
    onnx = pytest.importorskip("onnx", reason="onnx is not installed: make small")
    initialisers, nodes = [], []

    def keep(name: str, value: torch.Tensor) -> None:
        initialisers.append(onnx.numpy_helper.from_array(value.numpy(), name))

    for name, value in model.state_dict().items():
        parts = name.split(".")
        parts = [HUB_NAMES.get(part, "output.dense" if part == "o_proj" else part) for part in parts]
        hub_name = ".".join(parts)
        if name == "embeddings.position_embeddings":
            keep("onnx::Concat_1", value[:, :1])
            keep("onnx::Reshape_2", value[:, 1:])
        elif value.dim() == 2 and name != "embeddings.mask_token":
            constant = f"onnx::MatMul_{len(nodes)}"
            keep(constant, value.T.contiguous())
            node = "/backbone/" + hub_name.removesuffix(".weight").replace("layer.", "layer#").replace(".", "/")
            nodes.append(
                onnx.helper.make_node("MatMul", ["x", constant], ["y"], name=node.replace("#", ".") + "/MatMul")
            )
        elif name != "embeddings.mask_token":
            keep(f"backbone.{hub_name}", value)
    keep("decoder.final_conv.bias", torch.zeros(1))
    onnx.save(onnx.helper.make_model(onnx.helper.make_graph(nodes, "g", [], [], initialisers)), path)


def test_a_dinov2_converted_from_a_graph_is_the_same_model(tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = Dinov2Config(
        hidden_size=128, num_hidden_layers=2, num_attention_heads=2, patch_size=4, image_size=20, layerscale_value=0.7
    )
    model = Dinov2Model(config).eval()
    with torch.no_grad():
        for value in model.parameters():
            value.add_(torch.randn_like(value) * 0.1)
    write_graph(model, tmp_path / "model.onnx")
    (tmp_path / "out").mkdir()
    onnx_dinov2(tmp_path / "model.onnx", tmp_path / "out")
    opened, loading = AutoModel.from_pretrained(tmp_path / "out", output_loading_info=True)
    assert not loading["missing_keys"] and not loading["unexpected_keys"]
    pixels = torch.randn(2, 3, 12, 12)
    with torch.no_grad():
        assert torch.equal(opened.eval()(pixels).last_hidden_state, model(pixels).last_hidden_state)
    assert pixel_statistics(str(tmp_path / "out")) == IMAGENET


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A cache of this module's tests."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("cache")
        patch.setenv("VILAM_CACHE", str(folder))
        yield folder


@pytest.fixture
def opened(cache: Path, request: pytest.FixtureRequest) -> str:
    """The folder of a real checkpoint; skips if its package is not installed."""
    try:
        PACKAGED[request.param].source()
    except VilamError as error:
        pytest.skip(str(error))
    return local_checkpoint(f"package:{request.param}")


@pytest.mark.parametrize("opened", ["dinov2-small"], indirect=True)
def test_every_layer_of_the_real_dinov2_computes_the_same_as_the_graph(opened: str) -> None:
    onnx, reference = pytest.importorskip("onnx"), pytest.importorskip("onnx.reference")
    model, loading = AutoModel.from_pretrained(opened, output_loading_info=True)
    assert not loading["missing_keys"] and not loading["unexpected_keys"]
    graph = onnx.load(PACKAGED["dinov2-small"].source())
    names = [f"/backbone/encoder/layer.{layer}/Add_1_output_0" for layer in range(12)]
    last = next(index for index, node in enumerate(graph.graph.node) if names[-1] in node.output)
    del graph.graph.node[last + 1 :], graph.graph.output[:]
    graph.graph.output.extend(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in names)
    pixels = torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    computed = reference.ReferenceEvaluator(graph).run(None, {"input_image": pixels.numpy()})
    with torch.no_grad():
        layers = model.eval()(pixels, output_hidden_states=True).hidden_states[1:]
    for ours, theirs in zip(layers, computed, strict=True):
        torch.testing.assert_close(ours, torch.from_numpy(theirs), atol=1e-4, rtol=0)


@pytest.mark.parametrize("opened", ["efficientnet-lite2"], indirect=True)
@pytest.mark.parametrize("size", [224, 260, 75])
def test_the_real_efficientnet_lite_computes_the_same_as_another_port(opened: str, size: int) -> None:
    ports = pytest.importorskip("efficientnet_lite_pytorch", reason="efficientnet-lite-pytorch is missing: make small")
    register_auto_classes()
    model, loading = AutoModel.from_pretrained(opened, output_loading_info=True)
    assert not loading["missing_keys"] and not loading["unexpected_keys"]
    other = ports.EfficientNet.from_name("efficientnet-lite2", image_size=None).eval()
    other.load_state_dict(torch.load(PACKAGED["efficientnet-lite2"].source(), weights_only=True))
    pixels = torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(0))
    outputs: list[torch.Tensor] = []
    for block in (0, 3, 6, 10, 14, 19, 20):  # the last block of each stage
        other._blocks[block].register_forward_hook(lambda *arguments: outputs.append(arguments[-1]))
    with torch.no_grad():
        other.extract_features(pixels)
        found = model.eval()(pixels)
    for ours, theirs in zip(found.hidden_states[1:], outputs, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)
    assert pixel_statistics(opened)["image_mean"] == [127 / 255] * 3


@pytest.mark.parametrize("opened", ["smollm2-135m-instruct"], indirect=True)
def test_the_real_language_model_generates_a_sensible_text(opened: str) -> None:
    tokenizer = AutoTokenizer.from_pretrained(opened)
    model = AutoModelForCausalLM.from_pretrained(opened)
    question = tokenizer("The capital of France is", return_tensors="pt")
    answer = model.generate(**question, max_new_tokens=1, do_sample=False)
    assert tokenizer.decode(answer[0]) == "The capital of France is Paris"
    assert AutoConfig.from_pretrained(opened).model_type == "llama"
