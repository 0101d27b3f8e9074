"""Tiny checkpoints of models whose processors are written for torchvision alone; not part of the locked environment."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import transformers
from hf_checkpoints import PATCH, SIZE, WIDTH, write
from hf_families import ends, template, text_config, tokenizer_with


def write_lfm2(folder: Path) -> None:
    """LFM2-VL: tiles and a thumbnail; convolutions beside attention."""
    marks = [f"<|img_row_{row}_col_{column}|>" for row in range(1, 5) for column in range(1, 5)]
    tokenizer = tokenizer_with("<|image_start|>", "<|image_end|>", "<|img_thumbnail|>", *marks, image_token="<image>")
    config = transformers.Lfm2VlConfig(
        vision_config={"model_type": "siglip2_vision_model", **WIDTH, "patch_size": PATCH, "num_patches": 16},
        text_config=text_config(
            tokenizer, "lfm2", layer_types=["conv", "full_attention"], block_auto_adjust_ff_dim=False
        ),
        image_token_id=tokenizer.image_token_id,
        projector_hidden_size=32,
    )
    images = transformers.Lfm2VlImageProcessor(
        tile_size=SIZE,
        size={"height": SIZE, "width": SIZE},
        encoder_patch_size=PATCH,
        min_image_tokens=2,
        max_image_tokens=4,
        max_tiles=4,
    )
    processor = {"processor_class": "Lfm2VlProcessor"}
    write(folder, "Lfm2Vl", config, tokenizer, images, processor, template("<image>"), **ends(tokenizer))


MOLMO = ("<im_start>", "<im_end>", "<im_patch>", "<im_col>", "<low_res_im_start>", "<frame_start>", "<frame_end>")


def write_molmo2(folder: Path) -> None:
    """Molmo 2: the whole picture and crops of it, which are pooled; its added words have a matrix of their own."""
    tokenizer = tokenizer_with("<im_low>", *MOLMO, image_token="<|image|>", video_token="<|video|>")
    ids = tokenizer.convert_tokens_to_ids
    attention = {"num_attention_heads": 4, "num_key_value_heads": 4, "head_dim": 8}
    config = transformers.Molmo2Config(
        vision_config={**WIDTH, **attention, "image_size": [SIZE, SIZE], "patch_size": PATCH},
        adapter_config={
            "hidden_size": 32,
            **attention,
            "vision_feature_layer": [1, 0],
            "intermediate_size": 64,
            "text_hidden_size": 32,
        },
        text_config=text_config(tokenizer, "molmo2_text", head_dim=8, additional_vocab_size=8),
        image_start_token_id=ids("<im_start>"),
        low_res_image_start_token_id=ids("<low_res_im_start>"),
        image_end_token_id=ids("<im_end>"),
        image_patch_id=ids("<im_patch>"),
        frame_start_token_id=ids("<frame_start>"),
        frame_end_token_id=ids("<frame_end>"),
    )
    images = transformers.Molmo2ImageProcessor(
        size={"height": SIZE, "width": SIZE}, patch_size=PATCH, max_crops=4, overlap_margins=[1, 1]
    )
    processor = {"processor_class": "Molmo2Processor"}
    write(folder, "Molmo2", config, tokenizer, images, processor, template("<|image|>"), **ends(tokenizer))


def write_kimi(folder: Path) -> None:
    """Kimi K2.5: pictures of any size, before a language model of DeepSeek-V3's kind."""
    tokenizer = tokenizer_with(
        "<|media_begin|>", "<|media_content|>", "<|media_end|>", image_token="<|media_pad|>", video_token="<|video|>"
    )
    ids = tokenizer.convert_tokens_to_ids
    text: dict[str, Any] = {
        "q_lora_rank": 8,
        "kv_lora_rank": 8,
        "qk_rope_head_dim": 8,
        "qk_nope_head_dim": 8,
        "v_head_dim": 8,
        "n_routed_experts": 4,
        "num_experts_per_tok": 2,
        "moe_intermediate_size": 16,
        "n_group": 1,
        "topk_group": 1,
        "first_k_dense_replace": 1,
        "num_key_value_heads": 4,
    }
    config = transformers.Kimi_K25Config(
        vision_config={**WIDTH, "patch_size": PATCH, "pos_emb_height": 8, "pos_emb_width": 8},
        text_config=text_config(tokenizer, "deepseek_v3", **text),
        projection_hidden_size=32,
        image_token_id=ids("<|media_pad|>"),
        video_token_id=ids("<|video|>"),
        vision_start_token_id=ids("<|media_begin|>"),
        vision_end_token_id=ids("<|media_end|>"),
    )
    images = transformers.Kimi_K25ImageProcessor(max_patches=64, size={"max_height": 8, "max_width": 8})
    own = template("<|media_begin|>image<|media_content|><|media_pad|><|media_end|>")
    processor = {"processor_class": "Kimi_K25Processor"}
    write(folder, "Kimi_K25", config, tokenizer, images, processor, own, **ends(tokenizer))


TORCHVISION: dict[str, Callable[[Path], None]] = {
    "lfm2_vl": write_lfm2,
    "molmo2": write_molmo2,
    "kimi_k25": write_kimi,
}
"""By model_type."""
