"""Tiny checkpoints of still further vision-language models of transformers, as in hf_families.py."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import transformers
from hf_checkpoints import PATCH, WIDTH, write
from hf_families import LINEAR, MROPE, ends, qwen_images, template, text_config, tokenizer_with

PIXELS = {"shortest_edge": 64**2, "longest_edge": 4 * 64**2}
"""The size of processors that count pixels."""
ERNIE = {
    "image_token": "<|IMAGE_PLACEHOLDER|>",
    "image_start_token": "<|IMAGE_START|>",
    "image_end_token": "<|IMAGE_END|>",
    "video_token": "<|VIDEO_PLACEHOLDER|>",
    "video_start_token": "<|VIDEO_START|>",
    "video_end_token": "<|VIDEO_END|>",
}
MINICPM = {
    "image_token": "<|image_pad|>",
    "video_token": "<|video_pad|>",
    "image_start_token": "<image>",
    "image_end_token": "</image>",
    "slice_start_token": "<slice>",
    "slice_end_token": "</slice>",
    "image_id_start_token": "<image_id>",
    "image_id_end_token": "</image_id>",
}
HUNYUAN = {
    "image_token": "<image_patch>",
    "image_start_token": "<image_start>",
    "image_end_token": "<image_end>",
}


def write_gemma4(folder: Path) -> None:
    """Gemma 4: pictures of any shape in at most 70 tokens; layers with a sliding window, and one that shares keys."""
    named = {"image_token": "<|image|>", "boi_token": "<|image>", "eoi_token": "<image|>"}
    sound = {"audio_token": "<|audio|>", "boa_token": "<|audio>", "eoa_token": "<audio|>"}
    tokenizer = tokenizer_with("<|video|>", **named, **sound)
    ids = tokenizer.convert_tokens_to_ids
    layers = ["sliding_attention", "full_attention", "sliding_attention", "full_attention"]
    text = text_config(
        tokenizer,
        "gemma4_text",
        num_hidden_layers=4,
        layer_types=layers,
        num_kv_shared_layers=2,
        head_dim=8,
        global_head_dim=8,
        sliding_window=16,
        hidden_size_per_layer_input=8,
        vocab_size_per_layer_input=len(tokenizer),
        use_bidirectional_attention="vision",
    )
    config = transformers.Gemma4Config(
        vision_config={
            **WIDTH,
            "position_embedding_size": 64,
            "num_key_value_heads": 4,
            "head_dim": 8,
            "patch_size": 4,
            "pooling_kernel_size": 2,
        },
        text_config=text,
        audio_config=None,
        image_token_id=ids("<|image|>"),
        video_token_id=ids("<|video|>"),
        boi_token_id=ids("<|image>"),
        eoi_token_id=ids("<image|>"),
        audio_token_id=None,
        boa_token_id=None,
        eoa_token_index=None,
    )
    images = transformers.Gemma4ImageProcessorPil(patch_size=4, max_soft_tokens=70, pooling_kernel_size=2)
    processor = {
        "processor_class": "Gemma4Processor",
        "image_seq_length": 70,
        "feature_extractor": {"feature_extractor_type": "Gemma4AudioFeatureExtractor", "feature_size": 128},
        "video_processor": {"video_processor_type": "Gemma4VideoProcessor", "num_frames": 32},
    }
    write(folder, "Gemma4", config, tokenizer, images, processor, template("<|image|>"), **ends(tokenizer))


def write_hunyuan(folder: Path) -> None:
    """HunyuanOCR: positions in four axes, and a token for the end of each row of patches."""
    tokenizer = tokenizer_with(**HUNYUAN)
    ids = tokenizer.convert_tokens_to_ids
    rope = {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [1, 1, 1, 1]}
    config = transformers.HunYuanVLConfig(
        vision_config={**WIDTH, "patch_size": 16, "out_hidden_size": 32, "text_hidden_size": 32},
        text_config=text_config(tokenizer, "hunyuan_vl_text", head_dim=8, rope_parameters=rope),
        image_token_id=ids(HUNYUAN["image_token"]),
        im_start_id=ids(HUNYUAN["image_start_token"]),
        im_end_id=ids(HUNYUAN["image_end_token"]),
        im_newline_id=ids("."),
    )
    images = transformers.HunYuanVLImageProcessorPil(size=PIXELS, patch_size=16)
    own = template("<image_start><image_patch><image_end>")
    processor = {"processor_class": "HunYuanVLProcessor"}
    write(folder, "HunYuanVL", config, tokenizer, images, processor, own, **ends(tokenizer))


def write_ernie(folder: Path) -> None:
    """ERNIE 4.5 VL: experts of its own for the tokens of pictures."""
    tokenizer = tokenizer_with(**ERNIE)
    ids = tokenizer.convert_tokens_to_ids
    text = text_config(
        tokenizer,
        "ernie4_5_vl_moe_text",
        moe_num_experts=4,
        moe_k=2,
        moe_intermediate_size=[16, 16],
        rope_parameters={"rope_type": "default", "rope_theta": 5e5, "mrope_section": [1, 1, 2]},
    )
    config = transformers.Ernie4_5_VLMoeConfig(
        vision_config={"depth": 2, "hidden_size": 32, "intermediate_size": 64, "num_heads": 4, "patch_size": PATCH},
        text_config=text,
        **{f"{name}_id": ids(token) for name, token in ERNIE.items()},
    )
    images = transformers.Ernie4_5_VLMoeImageProcessorPil(size=PIXELS, patch_size=PATCH)
    own = template("Picture 1:<|IMAGE_START|><|IMAGE_PLACEHOLDER|><|IMAGE_END|>")
    videos = {"video_processor_type": "Ernie4_5_VLMoeVideoProcessor", "patch_size": PATCH, "draw_on_frames": False}
    processor = {"processor_class": "Ernie4_5_VLMoeProcessor", "video_processor": videos}
    write(folder, "Ernie4_5_VLMoe", config, tokenizer, images, processor, own, **ends(tokenizer))


def write_minicpm(folder: Path) -> None:
    """MiniCPM-V 4.6: the whole picture and slices of it, before a language model of Qwen3.5's kind."""
    tokenizer = tokenizer_with("<box>", "</box>", "<ref>", "</ref>", **MINICPM)
    config = transformers.MiniCPMV4_6Config(
        vision_config={**WIDTH, "image_size": 56, "patch_size": 7, "insert_layer_id": 1},
        insert_layer_id=1,
        text_config=text_config(tokenizer, "qwen3_5_text", head_dim=8, rope_parameters=MROPE, **LINEAR),
        image_size=56,
        image_token_id=tokenizer.image_token_id,
        video_token_id=tokenizer.video_token_id,
    )
    images = transformers.MiniCPMV4_6ImageProcessorPil(scale_resolution=56, patch_size=7, max_slice_nums=4)
    processor = {"processor_class": "MiniCPMV4_6Processor"}
    write(folder, "MiniCPMV4_6", config, tokenizer, images, processor, template("<|image_pad|>\n"), **ends(tokenizer))


def write_deepseek_ocr2(folder: Path) -> None:
    """DeepSeek-OCR 2 at a quarter of its sizes: SAM and a language model as encoder, experts as decoder."""
    tokenizer = tokenizer_with("<|ref|>", "<|/ref|>", "<|det|>", "<|/det|>", "<|grounding|>", image_token="<image>")
    config = transformers.DeepseekOcr2Config(
        vision_config={
            "sam_config": {
                "hidden_size": 32,
                "output_channels": 16,
                "num_hidden_layers": 1,
                "num_attention_heads": 4,
                "image_size": 256,
                "patch_size": 4,
                "global_attn_indexes": [],
                "downsample_channels": [16, 32],
                "window_size": 4,
            },
            "encoder_config": {**WIDTH, "num_key_value_heads": 2, "vocab_size": 8},
        },
        text_config=text_config(
            tokenizer,
            "deepseek_ocr2_text",
            n_routed_experts=4,
            num_experts_per_tok=2,
            n_shared_experts=1,
            moe_intermediate_size=16,
            mlp_layer_types=["dense", "sparse"],
        ),
        image_token_id=tokenizer.image_token_id,
    )
    images = transformers.DeepseekOcr2ImageProcessorPil(size={"height": 256, "width": 256}, tile_size=192)
    processor = {"processor_class": "DeepseekOcr2Processor", "patch_size": 4}
    write(folder, "DeepseekOcr2", config, tokenizer, images, processor, template("<image>\n"), **ends(tokenizer))


def write_lfm3(folder: Path) -> None:
    """LFM3-VL: convolutions beside attention, in the vision tower too."""
    tokenizer = tokenizer_with()
    ids = tokenizer.convert_tokens_to_ids
    layers = ["conv", "sliding_attention", "full_attention"]
    config = transformers.Lfm3VlConfig(
        vision_config={
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "layer_types": ["conv", "full_attention"],
        },
        text_config=text_config(
            tokenizer, "lfm3", num_hidden_layers=3, layer_types=layers, head_dim=8, sliding_window=16
        ),
        image_token_id=ids("<|image_pad|>"),
        video_token_id=ids("<|video_pad|>"),
        vision_start_token_id=ids("<|vision_start|>"),
        vision_end_token_id=ids("<|vision_end|>"),
        projector_hidden_size=32,
    )
    own = template("<|vision_start|><|image_pad|><|vision_end|>")
    processor = {"processor_class": "Lfm3VlProcessor"}
    write(folder, "Lfm3Vl", config, tokenizer, qwen_images(), processor, own, **ends(tokenizer))


NEWER: dict[str, Callable[[Path], None]] = {
    "gemma4": write_gemma4,
    "hunyuan_vl": write_hunyuan,
    "ernie4_5_vl_moe": write_ernie,
    "minicpmv4_6": write_minicpm,
    "deepseek_ocr2": write_deepseek_ocr2,
    "lfm3_vl": write_lfm3,
}
"""By model_type."""
