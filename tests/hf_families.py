"""Tiny checkpoints of further vision-language models of transformers: one of each convention that hf_checkpoints lacks.

``FAMILIES[model_type](folder)`` writes one, as ``HF_CHECKPOINTS`` does. The tokenizers are Qwen's, with the special
tokens of each model: what a processor asks of a tokenizer are names, not words.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import transformers
from hf_checkpoints import (
    LLAMA,
    PATCH,
    QWEN_TEMPLATE,
    SIZE,
    SMOLVLM_TEMPLATE,
    WIDTH,
    add_special,
    qwen_tokenizer,
    qwen_tokens,
    smolvlm_tokenizer,
    train_byte_bpe,
    write,
)
from tokenizers import pre_tokenizers

SQUARE = {"height": SIZE, "width": SIZE}
PATCHES = (SIZE // PATCH) ** 2
MROPE = {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [2, 1, 1]}
CLIP = {"model_type": "clip_vision_model", **WIDTH, "image_size": SIZE, "patch_size": PATCH, "projection_dim": 32}
SIGLIP = {
    "model_type": "siglip_vision_model",
    **WIDTH,
    "image_size": SIZE,
    "patch_size": PATCH,
    "vision_use_head": False,
}
MOE = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16, "decoder_sparse_step": 1}


def template(image: str) -> str:
    """Qwen's template with another text for an image."""
    return QWEN_TEMPLATE.replace("<|vision_start|><|image_pad|><|vision_end|>", image)


def tokenizer_with(*tokens: str, **named: str) -> Any:
    """Qwen's tokenizer with further special tokens; ``image_token="<image>"`` also makes an attribute of that name."""
    tokenizer = qwen_tokenizer()
    add_special(tokenizer, *tokens, *(each for each in named.values() if each not in tokenizer.get_vocab()))
    tokenizer._set_model_specific_special_tokens(named)
    return tokenizer


def ends(tokenizer: Any) -> dict[str, Any]:
    """The part of generation_config.json about tokens."""
    return {"eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id}


def text_config(tokenizer: Any, model_type: str = "qwen2", **changes: Any) -> dict[str, Any]:
    """A language model."""
    return {"model_type": model_type, **LLAMA, "vocab_size": len(tokenizer), **ends(tokenizer), **changes}


def qwen_images(**changes: Any) -> Any:
    """Qwen's image processor, for small images."""
    settings = {"size": {"shortest_edge": 64**2, "longest_edge": 4 * 64**2}, "patch_size": 16, **changes}
    return transformers.Qwen2VLImageProcessorPil(**settings)


def write_qwen2(folder: Path) -> None:
    """Qwen2-VL."""
    tokenizer = qwen_tokenizer()
    tokens, generation = qwen_tokens(tokenizer)
    config = transformers.Qwen2VLConfig(
        vision_config={
            "depth": 2,
            "embed_dim": 32,
            "hidden_size": 32,
            "num_heads": 4,
            "mlp_ratio": 2,
            "patch_size": PATCH,
        },
        text_config=text_config(tokenizer, "qwen2_vl_text", rope_parameters=MROPE),
        **tokens,
    )
    images = qwen_images(patch_size=PATCH)
    write(
        folder,
        "Qwen2VL",
        config,
        tokenizer,
        images,
        {"processor_class": "Qwen2VLProcessor"},
        QWEN_TEMPLATE,
        **generation,
    )


def qwen3_vision() -> dict[str, Any]:
    """The vision tower of Qwen3-VL and of Qwen3.5."""
    return {
        "depth": 2,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_heads": 4,
        "patch_size": 16,
        "num_position_embeddings": 16,
        "deepstack_visual_indexes": [0],
        "out_hidden_size": 32,
    }


def write_qwen3(kind: str, text: str, **changes: Any) -> Callable[[Path], None]:
    """A model of the class ``kind`` with Qwen3-VL's vision tower."""

    def written(folder: Path) -> None:
        tokenizer = qwen_tokenizer()
        tokens, generation = qwen_tokens(tokenizer)
        rope = {**MROPE, "mrope_interleaved": True}
        config = getattr(transformers, f"{kind}Config")(
            vision_config=qwen3_vision(),
            text_config=text_config(tokenizer, text, head_dim=8, rope_parameters=rope, **changes),
            **tokens,
        )
        images = qwen_images(image_mean=[0.5] * 3, image_std=[0.5] * 3)
        write(
            folder,
            kind,
            config,
            tokenizer,
            images,
            {"processor_class": "Qwen3VLProcessor"},
            QWEN_TEMPLATE,
            **generation,
        )

    return written


LINEAR = {
    "layer_types": ["linear_attention", "full_attention"],
    "linear_key_head_dim": 8,
    "linear_value_head_dim": 8,
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
}
"""Of Qwen3.5: one layer of each kind."""


GLM_MOE = {
    "n_routed_experts": 4,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 16,
    "n_group": 1,
    "topk_group": 1,
    "first_k_dense_replace": 1,
    "head_dim": 8,
}


def write_internvl(folder: Path) -> None:
    """InternVL 3: tiles of an image and its thumbnail."""
    names = {"start_image_token": "<img>", "end_image_token": "</img>", "context_image_token": "<IMG_CONTEXT>"}
    tokenizer = tokenizer_with("<ref>", "</ref>", "<box>", "</box>", video_token="<video>", **names)
    config = transformers.InternVLConfig(
        vision_config={**WIDTH, "image_size": [SIZE, SIZE], "patch_size": [PATCH, PATCH]},
        text_config=text_config(tokenizer),
        image_token_id=tokenizer.convert_tokens_to_ids("<IMG_CONTEXT>"),
        image_seq_length=PATCHES // 4,
    )
    images = transformers.GotOcr2ImageProcessorPil(size=SQUARE, crop_to_patches=True, max_patches=4)
    processor = {"processor_class": "InternVLProcessor", "image_seq_length": PATCHES // 4}
    write(folder, "InternVL", config, tokenizer, images, processor, template("<IMG_CONTEXT>\n"), **ends(tokenizer))


def write_glm4v(kind: str, text: str, **changes: Any) -> Callable[[Path], None]:
    """GLM-4.1V, 4.5V and 4.6V."""

    def written(folder: Path) -> None:
        names = ["<|begin_of_image|>", "<|end_of_image|>", "<|begin_of_video|>", "<|end_of_video|>"]
        tokenizer = tokenizer_with(
            *names, "<|begin_of_box|>", "<|end_of_box|>", image_token="<|image|>", video_token="<|video|>"
        )
        ids = tokenizer.convert_tokens_to_ids
        config = getattr(transformers, f"{kind}Config")(
            vision_config={
                "depth": 2,
                "hidden_size": 32,
                "intermediate_size": 64,
                "num_heads": 4,
                "patch_size": PATCH,
                "image_size": SIZE,
                "out_hidden_size": 32,
            },
            text_config=text_config(
                tokenizer, text, rope_parameters={**MROPE, "partial_rotary_factor": 1.0}, **changes
            ),
            image_token_id=ids("<|image|>"),
            video_token_id=ids("<|video|>"),
            image_start_token_id=ids("<|begin_of_image|>"),
            image_end_token_id=ids("<|end_of_image|>"),
            video_start_token_id=ids("<|begin_of_video|>"),
            video_end_token_id=ids("<|end_of_video|>"),
        )
        name = "Glm46V" if kind == "Glm46V" else "Glm4v"
        images = getattr(transformers, f"{name}ImageProcessorPil")(
            size={"shortest_edge": 64**2, "longest_edge": 4 * 64**2}, patch_size=PATCH
        )
        own = template("<|begin_of_image|><|image|><|end_of_image|>")
        write(folder, kind, config, tokenizer, images, {"processor_class": f"{name}Processor"}, own, **ends(tokenizer))

    return written


def bart_tokenizer() -> Any:
    """Florence-2's: BART's with tokens for 1,000 places and for tasks."""
    trained = train_byte_bpe(
        pre_tokenizers.ByteLevel(add_prefix_space=False), ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    )
    tokenizer = transformers.BartTokenizer(**trained)
    places = [f"<loc_{number}>" for number in range(1000)]
    add_special(tokenizer, *places, "<poly>", "</poly>", "<sep>", "<od>", "</od>")
    tokenizer.add_special_tokens({"additional_special_tokens": ["<image>"]})
    tokenizer._set_model_specific_special_tokens({"image_token": "<image>"})
    return tokenizer


def write_florence2(folder: Path) -> None:
    """Florence-2: an encoder reads the image and the question, a decoder writes the answer."""
    tokenizer = bart_tokenizer()
    tokens = {"bos_token_id": 0, "pad_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 2}
    config = transformers.Florence2Config(
        vision_config={
            "depths": [1, 1],
            "embed_dim": [16, 32],
            "num_heads": [2, 4],
            "num_groups": [2, 4],
            "patch_size": [7, 3],
            "patch_stride": [4, 2],
            "patch_padding": [3, 1],
            "patch_prenorm": [False, True],
            "window_size": 7,
            "projection_dim": 32,
            "max_temporal_embeddings": 4,
            "max_position_embeddings": 8,
        },
        text_config={
            "model_type": "bart",
            "vocab_size": len(tokenizer),
            "d_model": 32,
            "encoder_layers": 2,
            "decoder_layers": 2,
            "encoder_attention_heads": 4,
            "decoder_attention_heads": 4,
            "encoder_ffn_dim": 64,
            "decoder_ffn_dim": 64,
            "max_position_embeddings": 2048,
            **tokens,
        },
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
    )
    side = SIZE // 8
    images = transformers.CLIPImageProcessorPil(size=SQUARE, crop_size=SQUARE, do_center_crop=False)
    images.image_seq_length = side * side + 1
    processor = {"processor_class": "Florence2Processor", "num_additional_image_tokens": 0}
    write(folder, "Florence2", config, tokenizer, images, processor, **tokens)


def write_gemma3(folder: Path) -> None:
    """Gemma 3: 4 tokens of an image, which see each other, and layers with a sliding window."""
    tokenizer = tokenizer_with(
        image_token="<image_soft_token>", boi_token="<start_of_image>", eoi_token="<end_of_image>"
    )
    ids = tokenizer.convert_tokens_to_ids
    text = text_config(tokenizer, "gemma3_text", head_dim=8, query_pre_attn_scalar=8, sliding_window=16)
    config = transformers.Gemma3Config(
        vision_config=SIGLIP,
        text_config={**text, "layer_types": ["sliding_attention", "full_attention"]},
        mm_tokens_per_image=4,
        image_token_index=ids("<image_soft_token>"),
        boi_token_index=ids("<start_of_image>"),
        eoi_token_index=ids("<end_of_image>"),
    )
    images = transformers.Gemma3ImageProcessorPil(size=SQUARE)
    processor = {"processor_class": "Gemma3Processor", "image_seq_length": 4}
    write(folder, "Gemma3", config, tokenizer, images, processor, template("<start_of_image>"), **ends(tokenizer))


def write_llava_next(folder: Path) -> None:
    """LLaVA-NeXT: the padded image and its tiles."""
    tokenizer = tokenizer_with("<image>")
    config = transformers.LlavaNextConfig(
        vision_config=CLIP,
        text_config=text_config(tokenizer),
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        image_grid_pinpoints=[[SIZE, 2 * SIZE], [2 * SIZE, SIZE], [2 * SIZE, 2 * SIZE]],
        image_seq_length=PATCHES,
        vision_feature_select_strategy="default",
        vision_feature_layer=-2,
    )
    images = transformers.LlavaNextImageProcessorPil(
        size={"shortest_edge": SIZE}, crop_size=SQUARE, image_grid_pinpoints=config.image_grid_pinpoints
    )
    processor = {
        "processor_class": "LlavaNextProcessor",
        "patch_size": PATCH,
        "num_additional_image_tokens": 1,
        "vision_feature_select_strategy": "default",
    }
    write(folder, "LlavaNext", config, tokenizer, images, processor, template("<image>\n"), **ends(tokenizer))


def write_llava_onevision(folder: Path) -> None:
    """LLaVA-OneVision."""
    tokenizer = tokenizer_with("<image>", "<video>")
    ids = tokenizer.convert_tokens_to_ids
    config = transformers.LlavaOnevisionConfig(
        vision_config=SIGLIP,
        text_config=text_config(tokenizer),
        image_token_index=ids("<image>"),
        video_token_index=ids("<video>"),
        image_grid_pinpoints=[[SIZE, 2 * SIZE], [2 * SIZE, SIZE], [2 * SIZE, 2 * SIZE]],
        vision_feature_select_strategy="full",
        vision_feature_layer=-1,
    )
    images = transformers.LlavaOnevisionImageProcessorPil(size=SQUARE, image_grid_pinpoints=config.image_grid_pinpoints)
    processor = {
        "processor_class": "LlavaOnevisionProcessor",
        "num_image_tokens": PATCHES,
        "vision_feature_select_strategy": "full",
    }
    write(folder, "LlavaOnevision", config, tokenizer, images, processor, template("<image>\n"), **ends(tokenizer))


def write_idefics3(folder: Path) -> None:
    """Idefics 3, which SmolVLM comes from."""
    tokenizer = smolvlm_tokenizer()
    config = transformers.Idefics3Config(
        vision_config={**WIDTH, "image_size": SIZE, "patch_size": PATCH},
        text_config=text_config(tokenizer, "llama"),
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        scale_factor=2,
        pad_token_id=tokenizer.pad_token_id,
    )
    images = transformers.Idefics3ImageProcessorPil(
        size={"longest_edge": 2 * SIZE}, max_image_size={"longest_edge": SIZE}, do_image_splitting=True
    )
    processor = {"processor_class": "Idefics3Processor", "image_seq_len": PATCHES // 4}
    write(folder, "Idefics3", config, tokenizer, images, processor, SMOLVLM_TEMPLATE, **ends(tokenizer))


LOCATIONS = [f"<|LOC_{number}|>" for number in range(1001)]
"""PaddleOCR-VL's."""


def write_ovis2(folder: Path) -> None:
    """Ovis 2: the vision tower chooses words of a visual vocabulary."""
    marks = ["<IMG_START>", "<IMG_GRID>", "<IMG_COL>", "<IMG_ROW>", "<IMG_END>"]
    tokenizer = tokenizer_with("<image>", "<IMG_ATOM>", *marks)
    ids = tokenizer.convert_tokens_to_ids
    config = transformers.Ovis2Config(
        vision_config={**WIDTH, "image_size": SIZE, "patch_size": PATCH, "vocab_size": 64, "hidden_stride": 2},
        text_config=text_config(tokenizer),
        image_token_id=ids("<IMG_ATOM>"),
        visual_indicator_token_ids=ids(marks),
        vocab_size=len(tokenizer),
        hidden_size=32,
    )
    images = transformers.Ovis2ImageProcessorPil(size=SQUARE, max_patches=4)
    processor = {"processor_class": "Ovis2Processor", "image_seq_length": PATCHES // 4}
    write(folder, "Ovis2", config, tokenizer, images, processor, template("<image>\n"), **ends(tokenizer))


def write_paddleocr(folder: Path) -> None:
    """PaddleOCR-VL: pictures of any size."""
    tokenizer = tokenizer_with("<|LOC_BEGIN|>", "<|LOC_END|>", *LOCATIONS, image_token="<|IMAGE_PLACEHOLDER|>")
    ids = tokenizer.convert_tokens_to_ids
    config = transformers.PaddleOCRVLConfig(
        vision_config={**WIDTH, "image_size": SIZE, "patch_size": PATCH},
        text_config=text_config(tokenizer, "paddleocr_vl_text", head_dim=8, rope_parameters=MROPE),
        image_token_id=ids("<|IMAGE_PLACEHOLDER|>"),
        video_token_id=ids("<|video_pad|>"),
        vision_start_token_id=ids("<|vision_start|>"),
        vision_end_token_id=ids("<|vision_end|>"),
    )
    images = transformers.PaddleOCRVLImageProcessorPil(min_pixels=64**2, max_pixels=4 * 64**2, patch_size=PATCH)
    own = template("<|vision_start|><|IMAGE_PLACEHOLDER|><|vision_end|>")
    write(
        folder,
        "PaddleOCRVL",
        config,
        tokenizer,
        images,
        {"processor_class": "PaddleOCRVLProcessor"},
        own,
        **ends(tokenizer),
    )


FAMILIES: dict[str, Callable[[Path], None]] = {
    "qwen2_vl": write_qwen2,
    "qwen3_vl_moe": write_qwen3("Qwen3VLMoe", "qwen3_vl_moe_text", **MOE),
    "qwen3_5": write_qwen3("Qwen3_5", "qwen3_5_text", **LINEAR),
    "qwen3_5_moe": write_qwen3("Qwen3_5Moe", "qwen3_5_moe_text", **LINEAR, **MOE),
    "internvl": write_internvl,
    "glm4v": write_glm4v("Glm4v", "glm4v_text"),
    "glm4v_moe": write_glm4v("Glm4vMoe", "glm4v_moe_text", **GLM_MOE),
    "glm46v": write_glm4v("Glm46V", "glm4v_text"),
    "florence2": write_florence2,
    "gemma3": write_gemma3,
    "llava_next": write_llava_next,
    "llava_onevision": write_llava_onevision,
    "idefics3": write_idefics3,
    "ovis2": write_ovis2,
    "paddleocr_vl": write_paddleocr,
}
"""By model_type."""
