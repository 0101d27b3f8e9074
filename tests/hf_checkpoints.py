"""Tiny checkpoints of transformers' real vision-language models, with random weights and in the hub's layout.

``HF_CHECKPOINTS[name](folder)`` writes one; ``AutoModelForImageTextToText`` and
`vilam.models.hf.processors.open_processor` open it by its path. As on the hub, the settings of images are in
preprocessor_config.json and not in processor_config.json. torchvision is not needed.
"""

from __future__ import annotations

import json
import string
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import GenerationConfig
from transformers.models.qwen2.tokenization_qwen2 import PRETOKENIZE_REGEX
from transformers.models.smolvlm import processing_smolvlm

SIZE = 56
"""The side of an image in pixels if the model takes a square: 4×4 patches."""
PATCH = 14
QUERIES = 8
"""Tokens of an image in BLIP-2 and InstructBLIP; real ones have 32."""
WIDTH = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
LLAMA = {**WIDTH, "num_key_value_heads": 2, "max_position_embeddings": 2048}
SYMBOLS = ".,:;!?'\"()[]/|-_+=*&%$#@"
LETTERS = string.ascii_letters + string.digits + SYMBOLS
TEXTS = (
    "Where is the red circle? Answer with a box.",
    "Where is the small blue square? Answer with [x0, y0, x1, y1].",
    "What is in the region [12, 34, 56, 78]? Answer with one word.",
    "Find every green triangle in the image.",
    "Question: how many yellow stars are there? Answer: two",
    "A large purple ring is on the left, above the white line.",
    "Describe the object in the box [0.12, 0.34, 0.56, 0.98].",
    "USER: ASSISTANT: User: Assistant: user assistant system",
    "detect red circle ; detect blue square ; an image of a snowman and a fire",
    " ".join(LETTERS),
)

BLIP2_PROCESSOR = {"processor_class": "Blip2Processor", "num_query_tokens": QUERIES}
INSTRUCTBLIP_PROCESSOR = {"processor_class": "InstructBlipProcessor", "num_query_tokens": QUERIES}
LLAVA_TEMPLATE = (
    "{% for message in messages %}{{ message['role'].upper() + ': ' }}"
    "{% for item in message['content'] | selectattr('type', 'equalto', 'image') %}{{ '<image>\\n' }}{% endfor %}"
    "{% for item in message['content'] | selectattr('type', 'equalto', 'text') %}{{ item['text'] + ' ' }}{% endfor %}"
    "{% endfor %}{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}"
)
QWEN_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}"
    "{% else %}{% for item in message['content'] %}"
    "{% if item['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% elif item['type'] == 'text' %}{{ item['text'] }}{% endif %}{% endfor %}{% endif %}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SMOLVLM_TEMPLATE = processing_smolvlm.DEFAULT_CHAT_TEMPLATE


def train_bpe(pre_tokenizer: Any, first: Sequence[str] = (), alphabet: Sequence[str] = ()) -> dict[str, Any]:
    """The vocabulary and the merges, with the tokens ``first`` at the front."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizer
    trainer = trainers.BpeTrainer(
        vocab_size=640, special_tokens=list(first), initial_alphabet=list(alphabet), show_progress=False
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    model = json.loads(tokenizer.to_str())["model"]
    return {"vocab": model["vocab"], "merges": [tuple(merge) for merge in model["merges"]]}


def train_byte_bpe(pre_tokenizer: Any, first: Sequence[str] = ()) -> dict[str, Any]:
    """For OPT, Qwen and SmolVLM: every byte has a token, so that no text is unknown."""
    return train_bpe(pre_tokenizer, first, sorted(pre_tokenizers.ByteLevel.alphabet()))


def split_sentences(digits: str) -> Any:
    """A word or a symbol may begin with its space, "▁"; ``digits`` is the pattern of digits that stay together."""
    pieces = pre_tokenizers.Split(Regex(rf"▁?\p{{L}}+|▁?[^\p{{L}}\p{{N}}▁]|{digits}|▁"), "isolated")
    return pre_tokenizers.Sequence([pre_tokenizers.Metaspace("▁"), pieces])


def train_sentencepiece_bpe(first: Sequence[str]) -> dict[str, Any]:
    """For LLaMA and Gemma: bytes to fall back to, digits one by one."""
    return train_bpe(split_sentences(r"\p{N}"), [*first, *(f"<0x{byte:02X}>" for byte in range(256))], f"▁\n{LETTERS}")


def train_unigram(first: Sequence[str], letters: str) -> list[tuple[str, float]]:
    """For T5 and Kosmos-2: pieces with their scores; a letter in none of them is unknown.

    The pieces are those of a BPE, because Unigram training of tokenizers differs from one run to the next. Few pieces
    score better than many, and frequent ones better than rare ones.
    """
    vocabulary = train_bpe(split_sentences(r"▁?\p{N}+"), first, f"▁{letters}")["vocab"]
    ordered = sorted(vocabulary, key=vocabulary.__getitem__)
    return [(piece, 0.0 if piece in first else -10 - rank / 100) for rank, piece in enumerate(ordered)]


def add_special(tokenizer: Any, *tokens: str) -> None:
    """Add tokens after all others, as in the hub's checkpoints."""
    tokenizer.add_tokens([transformers.AddedToken(token, normalized=False, special=True) for token in tokens])


def opt_tokenizer() -> Any:
    """A "</s>" before every text, and padding on the right."""
    trained = train_byte_bpe(pre_tokenizers.ByteLevel(add_prefix_space=False), ["<s>", "<pad>", "</s>"])
    tokenizer = transformers.GPT2Tokenizer(
        **trained, bos_token="</s>", eos_token="</s>", unk_token="</s>", pad_token="<pad>", add_bos_token=True
    )
    add_special(tokenizer, "<image>")
    return tokenizer


def t5_tokenizer() -> Any:
    """A "</s>" after every text; like T5's own, it has neither "<" nor a curly bracket nor a line break."""
    tokenizer = transformers.T5Tokenizer(train_unigram(["<pad>", "</s>", "<unk>"], LETTERS), extra_ids=100)
    add_special(tokenizer, "<image>")
    return tokenizer


def llama_tokenizer(later: Sequence[str], **tokens: Any) -> Any:
    """LLaMA's tokenizer with the tokens ``later`` after all others."""
    tokenizer = transformers.LlamaTokenizer(
        **train_sentencepiece_bpe(["<unk>", "<s>", "</s>"]), add_bos_token=True, **tokens
    )
    add_special(tokenizer, *later)
    return tokenizer


def vicuna_tokenizer() -> Any:
    """InstructBLIP's: "</s>" also begins a text, and padding has its own token."""
    return llama_tokenizer(
        ["[PAD]", "<image>"], bos_token="</s>", unk_token="</s>", pad_token="[PAD]", padding_side="left"
    )


def bert_tokenizer() -> Any:
    """InstructBLIP's second one, for its Q-Former: whole words, and letters for the others."""
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    letters = sorted(set(LETTERS.lower()))
    split = pre_tokenizers.BertPreTokenizer()
    words = {word for text in TEXTS for word, _ in split.pre_tokenize_str(text.lower())}.difference(letters)
    tokens = [*special, *letters, *(f"##{letter}" for letter in letters), *sorted(words)]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    return transformers.BertTokenizer(vocabulary, bos_token="[DEC]", truncation_side="left")


def qwen_tokenizer() -> Any:
    """Qwen's: adds no tokens before or after a text, and has no BOS token."""
    pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PRETOKENIZE_REGEX), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer = transformers.Qwen2Tokenizer(**train_byte_bpe(pre_tokenizer), eos_token="<|im_end|>")
    add_special(tokenizer, "<|im_start|>", "<|object_ref_start|>", "<|object_ref_end|>", "<|box_start|>", "<|box_end|>")
    add_special(tokenizer, "<|vision_start|>", "<|vision_end|>", "<|vision_pad|>", "<|image_pad|>", "<|video_pad|>")
    return tokenizer


def gemma_tokenizer() -> Any:
    """PaliGemma's: 1,024 tokens of locations and 128 of masks, which are ordinary tokens and not special ones."""
    trained = train_sentencepiece_bpe(["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"])
    tokenizer = transformers.GemmaTokenizer(**trained, add_bos_token=False)
    tokenizer.add_tokens([f"<loc{number:04}>" for number in range(1024)] + [f"<seg{code:03}>" for code in range(128)])
    add_special(tokenizer, "<image>")
    return tokenizer


def smolvlm_tokenizer() -> Any:
    """Digits one by one; "<end_of_utterance>" ends an answer."""
    pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    trained = train_byte_bpe(pre_tokenizer, ["<|endoftext|>", "<|im_start|>", "<|im_end|>"])
    backend = Tokenizer(models.BPE(**trained))
    backend.pre_tokenizer = pre_tokenizer
    backend.decoder = decoders.ByteLevel()
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token="<|im_start|>",
        eos_token="<end_of_utterance>",
        pad_token="<|im_end|>",
        unk_token="<|endoftext|>",
        padding_side="left",
        truncation_side="left",
    )
    tiles = [f"<row_{row}_col_{column}>" for row in range(1, 7) for column in range(1, 7)]
    add_special(tokenizer, "<global-img>", *tiles, "<fake_token_around_image>", "<image>")
    return tokenizer


def kosmos_tokenizer() -> Any:
    """XLM-RoBERTa's with the tags of Kosmos-2 and 1,024 tokens of cells, which are not special."""
    vocabulary = train_unigram(["<s>", "<pad>", "</s>", "<unk>"], f"{LETTERS}<>{{}}")
    tokenizer = transformers.XLMRobertaTokenizer(vocabulary)
    tags = ["/doc", "image", "/image", "/chunk", "/line", "phrase", "/phrase", "object", "/object"]
    tags += ["/delimiter_of_multi_objects/", "grounding"]
    cells = [f"<patch_index_{cell:04}>" for cell in range(1024)]
    names = [*(f"<{tag}>" for tag in tags), *cells]
    tokenizer.add_tokens([transformers.AddedToken(name, lstrip=True, rstrip=False, normalized=False) for name in names])
    return tokenizer


def square_images(kind: str, **settings: Any) -> Any:
    """An image processor that stretches an image to a square and crops nothing."""
    return getattr(transformers, f"{kind}ImageProcessorPil")(size={"height": SIZE, "width": SIZE}, **settings)


def write(
    folder: Path,
    kind: str,
    config: Any,
    tokenizer: Any,
    images: Any,
    processor: dict[str, Any],
    template: str = "",
    **generation: Any,
) -> None:
    """Write all files of a checkpoint; every matrix has random weights, large enough that logits differ."""
    torch.manual_seed(0)
    model = getattr(transformers, f"{kind}ForConditionalGeneration")(config)
    with torch.no_grad():
        for weights in model.parameters():
            if weights.dim() > 1:
                weights.normal_(std=0.2)
    model.tie_weights()
    model.generation_config = GenerationConfig(**generation)
    model.save_pretrained(folder, max_shard_size="200KB")
    tokenizer._set_processor_class(processor["processor_class"])
    tokenizer.save_pretrained(folder)
    images.save_pretrained(folder)
    (folder / "processor_config.json").write_text(json.dumps(processor, indent=2))
    if template:
        (folder / "chat_template.jinja").write_text(template)


def eva_config() -> dict[str, Any]:
    """The vision tower of BLIP-2 and InstructBLIP."""
    return {**WIDTH, "image_size": SIZE, "patch_size": PATCH}


def opt_config(tokenizer: Any) -> dict[str, Any]:
    """A line break ends an answer, as in the configuration of OPT in BLIP-2's own checkpoints."""
    return {
        "model_type": "opt",
        "vocab_size": len(tokenizer),
        "hidden_size": 32,
        "word_embed_proj_dim": 32,
        "ffn_dim": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "max_position_embeddings": 2048,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.convert_tokens_to_ids("Ċ"),
        "pad_token_id": tokenizer.pad_token_id,
    }


def t5_config(tokenizer: Any) -> dict[str, Any]:
    """Flan-T5's: gated, with an output matrix that is not tied to the embeddings."""
    return {
        "model_type": "t5",
        "vocab_size": len(tokenizer),
        "d_model": 32,
        "d_kv": 8,
        "d_ff": 64,
        "num_layers": 2,
        "num_heads": 4,
        "feed_forward_proj": "gated-gelu",
        "tie_word_embeddings": False,
        "decoder_start_token_id": tokenizer.pad_token_id,
        "pad_token_id": tokenizer.pad_token_id,
        "eos_token_id": tokenizer.eos_token_id,
    }


def write_blip2(folder: Path, tokenizer: Any, text: dict[str, Any]) -> None:
    """BLIP-2 with the language model ``text``."""
    config = transformers.Blip2Config(
        vision_config=eva_config(),
        qformer_config={**WIDTH, "cross_attention_frequency": 2},
        text_config=text,
        num_query_tokens=QUERIES,
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
    )
    write(folder, "Blip2", config, tokenizer, square_images("Blip"), BLIP2_PROCESSOR, **generation_of(text))


def write_instructblip(folder: Path, tokenizer: Any, text: dict[str, Any]) -> None:
    """InstructBLIP with the language model ``text``; its Q-Former reads the question with its own tokenizer."""
    second = bert_tokenizer()
    config = transformers.InstructBlipConfig(
        vision_config=eva_config(),
        qformer_config={**WIDTH, "cross_attention_frequency": 2, "vocab_size": len(second)},
        text_config=text,
        num_query_tokens=QUERIES,
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
    )
    images = square_images("Blip")
    write(folder, "InstructBlip", config, tokenizer, images, INSTRUCTBLIP_PROCESSOR, **generation_of(text))
    second.save_pretrained(folder / "qformer_tokenizer")


def generation_of(text: dict[str, Any]) -> dict[str, Any]:
    """The part of the language model's configuration that generation_config.json repeats."""
    names = ("bos_token_id", "eos_token_id", "pad_token_id", "decoder_start_token_id")
    return {name: text[name] for name in names if name in text}


def write_blip2_opt(folder: Path) -> None:
    """BLIP-2 with OPT."""
    tokenizer = opt_tokenizer()
    write_blip2(folder, tokenizer, opt_config(tokenizer))


def write_blip2_t5(folder: Path) -> None:
    """BLIP-2 with Flan-T5: an encoder reads the prompt and a decoder writes the answer."""
    tokenizer = t5_tokenizer()
    write_blip2(folder, tokenizer, t5_config(tokenizer))


def write_instructblip_vicuna(folder: Path) -> None:
    """InstructBLIP with Vicuna, a LLaMA."""
    tokenizer = vicuna_tokenizer()
    tokens = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": tokenizer.pad_token_id}
    write_instructblip(folder, tokenizer, {"model_type": "llama", **LLAMA, "vocab_size": len(tokenizer), **tokens})


def write_instructblip_t5(folder: Path) -> None:
    """InstructBLIP with Flan-T5."""
    tokenizer = t5_tokenizer()
    write_instructblip(folder, tokenizer, t5_config(tokenizer))


def write_llava(folder: Path) -> None:
    """LLaVA 1.5: CLIP, whose processor crops the centre of an image, and a LLaMA."""
    tokenizer = llama_tokenizer(["<image>", "<pad>"], pad_token="<pad>", padding_side="left")
    config = transformers.LlavaConfig(
        vision_config={
            "model_type": "clip_vision_model",
            **WIDTH,
            "image_size": SIZE,
            "patch_size": PATCH,
            "projection_dim": 32,
        },
        text_config={
            "model_type": "llama",
            **LLAMA,
            "vocab_size": len(tokenizer),
            "pad_token_id": tokenizer.pad_token_id,
        },
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        image_seq_length=(SIZE // PATCH) ** 2,
        vision_feature_select_strategy="default",
        vision_feature_layer=-2,
    )
    images = transformers.CLIPImageProcessorPil(size={"shortest_edge": SIZE}, crop_size={"height": SIZE, "width": SIZE})
    processor = {
        "processor_class": "LlavaProcessor",
        "image_token": "<image>",
        "patch_size": PATCH,
        "num_additional_image_tokens": 1,
        "vision_feature_select_strategy": "default",
    }
    tokens = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": tokenizer.pad_token_id}
    write(folder, "Llava", config, tokenizer, images, processor, LLAVA_TEMPLATE, **tokens)


def qwen_tokens(tokenizer: Any) -> tuple[dict[str, int], dict[str, Any]]:
    """The tokens in the configuration and in generation_config.json."""
    names = {
        "image_token_id": "<|image_pad|>",
        "video_token_id": "<|video_pad|>",
        "vision_start_token_id": "<|vision_start|>",
        "vision_end_token_id": "<|vision_end|>",
    }
    ends = [tokenizer.eos_token_id, tokenizer.pad_token_id]
    generation = {"bos_token_id": tokenizer.pad_token_id, "eos_token_id": ends, "pad_token_id": tokenizer.pad_token_id}
    return {key: tokenizer.convert_tokens_to_ids(name) for key, name in names.items()}, generation


def write_qwen25(folder: Path) -> None:
    """Qwen2.5-VL: images of any size, in patches of 14, four patches a token, and windows of 2×2 such tokens."""
    tokenizer = qwen_tokenizer()
    tokens, generation = qwen_tokens(tokenizer)
    config = transformers.Qwen2_5_VLConfig(
        vision_config={
            "depth": 2,
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_heads": 4,
            "patch_size": PATCH,
            "window_size": 4 * PATCH,
            "fullatt_block_indexes": [1],
            "out_hidden_size": 32,
        },
        text_config={
            **LLAMA,
            "vocab_size": len(tokenizer),
            "bos_token_id": generation["bos_token_id"],
            "eos_token_id": tokenizer.eos_token_id,
            "rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [2, 1, 1]},
        },
        **tokens,
    )
    images = transformers.Qwen2VLImageProcessorPil(
        min_pixels=(4 * PATCH) ** 2, max_pixels=4 * (4 * PATCH) ** 2, patch_size=PATCH
    )
    videos = {"video_processor_type": "Qwen2VLVideoProcessor", "patch_size": PATCH}  # where transformers 5 writes them
    processor = {"processor_class": "Qwen2_5_VLProcessor", "video_processor": videos}
    write(folder, "Qwen2_5_VL", config, tokenizer, images, processor, QWEN_TEMPLATE, **generation)


def write_qwen3(folder: Path) -> None:
    """Qwen3-VL: patches of 16; an early layer of the tower also feeds an early layer of the language model."""
    tokenizer = qwen_tokenizer()
    tokens, generation = qwen_tokens(tokenizer)
    config = transformers.Qwen3VLConfig(
        vision_config={
            "depth": 2,
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_heads": 4,
            "patch_size": 16,
            "num_position_embeddings": 16,
            "deepstack_visual_indexes": [0],
            "out_hidden_size": 32,
        },
        text_config={
            **LLAMA,
            "head_dim": 8,
            "vocab_size": len(tokenizer),
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 5e6,
                "mrope_section": [2, 1, 1],
                "mrope_interleaved": True,
            },
        },
        **tokens,
    )
    images = transformers.Qwen2VLImageProcessorPil(
        size={"shortest_edge": 64**2, "longest_edge": 4 * 64**2},
        patch_size=16,
        image_mean=[0.5, 0.5, 0.5],
        image_std=[0.5, 0.5, 0.5],
    )
    processor = {"processor_class": "Qwen3VLProcessor"}
    write(folder, "Qwen3VL", config, tokenizer, images, processor, QWEN_TEMPLATE, **generation)
    videos = {"video_processor_type": "Qwen3VLVideoProcessor", "patch_size": 16}
    (folder / "video_preprocessor_config.json").write_text(json.dumps(videos))


def write_paligemma(folder: Path) -> None:
    """PaliGemma 2: SigLIP and Gemma 2, which reads the whole prompt in both directions."""
    tokenizer = gemma_tokenizer()
    tokens = {
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    patches = (SIZE // PATCH) ** 2
    config = transformers.PaliGemmaConfig(
        vision_config={
            "model_type": "siglip_vision_model",
            **WIDTH,
            "image_size": SIZE,
            "patch_size": PATCH,
            "vision_use_head": False,
        },
        text_config={
            "model_type": "gemma2",
            **LLAMA,
            "head_dim": 8,
            "query_pre_attn_scalar": 8,
            "vocab_size": len(tokenizer),
            **tokens,
        },
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        projection_dim=32,
        hidden_size=32,
    )
    images = square_images("Siglip", image_seq_length=patches)
    processor = {"processor_class": "PaliGemmaProcessor"}
    write(folder, "PaliGemma", config, tokenizer, images, processor, **tokens)


def write_smolvlm(folder: Path) -> None:
    """SmolVLM 2: an image is cut into tiles, and the whole image, resized, follows them."""
    tokenizer = smolvlm_tokenizer()
    tokens = {
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    config = transformers.SmolVLMConfig(
        vision_config={**WIDTH, "image_size": SIZE, "patch_size": PATCH},
        text_config={"model_type": "llama", **LLAMA, "vocab_size": len(tokenizer), **tokens},
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        scale_factor=2,
        pad_token_id=tokenizer.pad_token_id,
    )
    images = transformers.SmolVLMImageProcessorPil(
        size={"longest_edge": 2 * SIZE}, max_image_size={"longest_edge": SIZE}, do_image_splitting=True
    )
    processor = {"processor_class": "SmolVLMProcessor", "image_seq_len": (SIZE // PATCH) ** 2 // 4}
    write(folder, "SmolVLM", config, tokenizer, images, processor, SMOLVLM_TEMPLATE, **tokens)


def write_kosmos2(folder: Path) -> None:
    """Kosmos-2: 64 tokens of an image whatever its size, because its processor expects them."""
    tokenizer = kosmos_tokenizer()
    config = transformers.Kosmos2Config(
        vision_config={**WIDTH, "image_size": SIZE, "patch_size": PATCH},
        text_config={
            "vocab_size": len(tokenizer),
            "embed_dim": 32,
            "ffn_dim": 64,
            "layers": 2,
            "attention_heads": 4,
            "max_position_embeddings": 2048,
        },
        latent_query_num=64,
    )
    images = square_images("CLIP", crop_size={"height": SIZE, "width": SIZE})
    processor = {"processor_class": "Kosmos2Processor", "num_patch_index_tokens": 1024}
    write(folder, "Kosmos2", config, tokenizer, images, processor, bos_token_id=0, eos_token_id=2, pad_token_id=1)


HF_CHECKPOINTS: dict[str, Callable[[Path], None]] = {
    "blip2-opt": write_blip2_opt,
    "blip2-t5": write_blip2_t5,
    "instructblip-vicuna": write_instructblip_vicuna,
    "instructblip-t5": write_instructblip_t5,
    "llava": write_llava,
    "qwen2.5-vl": write_qwen25,
    "qwen3-vl": write_qwen3,
    "paligemma": write_paligemma,
    "smolvlm": write_smolvlm,
    "kosmos-2": write_kosmos2,
}
