"""What people type, as a model reads it: words of one line, in the case of its training, no longer than it can read."""

from __future__ import annotations

import re
import unicodedata

from vilam.errors import VilamError
from vilam.inference.constraints import Node, Slot, TokenGrammar
from vilam.inference.generate import MAX_TOKENS
from vilam.inference.model import Model
from vilam.models.interface import GroundingModel, ImageBatch, Tokens, Turn
from vilam.models.vilam.model import VilamForConditionalGeneration

MARK_UP = re.compile(r"<[^<>]*>")
"""What may stand for a token of some model, such as ``<image>`` or ``<|im_end|>``."""
LETTERS = re.compile(r"[^\W\d_]+")
AROUND = tuple(
    re.compile(rf"[{re.escape(first)}]+([^{re.escape(first + last)}]*)[{re.escape(last)}]+")
    for first, last in ("[]", "()", "{}", '""', "''", "“”", "‘’", "«»")
)
"""Brackets and quotation marks around a whole expression, as in ``[[the red circle]]``."""
NO_WORDS = ("P", "Z", "C", "M", "Sm", "Sk")
"""Unicode's categories of characters that say nothing alone: punctuation, spaces, controls, accents, ``+``, ``^``."""
UNCOUNTED = 4
"""A question is counted only if its bytes, no fewer than its tokens, could fill a quarter of the positions."""
NO_LIMIT = 1 << 30
"""A tokenizer without a limit says a larger number."""


def as_read(expression: object, model: Model) -> str:
    """The expression that a person typed, as the model reads it; raises VilamError if it says nothing.

    Spaces become single ones; final punctuation goes, and so do brackets and quotation marks around the whole. A model that learnt its words here gets them in the case in
    which it learnt them (`in_known_case`). A pretrained language model knows the case of words, and gets what is typed.
    """
    if not isinstance(expression, str):
        raise VilamError(f"the expression {expression!r} is no text: say what to look for, such as 'the red circle'")
    text = _unwrapped(" ".join(expression.split()).rstrip(".?!")).rstrip(".?!")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise VilamError(f"the expression {text!r} is not valid text: check its encoding") from None
    if not text:
        raise VilamError("the expression is empty: say what to look for, such as 'the red circle'")
    if not _has_words(text, model.tokenizer):
        raise VilamError(f"the expression {text[:50]!r} has no words: say what to look for, such as 'the red circle'")
    pretrained = getattr(model.network.config, "is_pretrained", True)
    return text if pretrained else in_known_case(text, model.tokenizer)


def _unwrapped(text: str) -> str:
    for pattern in AROUND:
        if (match := pattern.fullmatch(text)) is not None:
            text = match.group(1).strip()
    return text


def in_known_case(text: str, tokenizer: Tokens) -> str:
    """The text with each word in the case that the tokenizer was trained on.

    Of the word as it is typed, in lower case, with a capital and in capitals, that is the one of the fewest tokens,
    since frequent words are one token; of several, what is typed.
    """
    return LETTERS.sub(lambda match: _known_case(match.group(), tokenizer), text)


def _known_case(word: str, tokenizer: Tokens) -> str:
    forms = (word, word.lower(), word.capitalize(), word.upper())
    return min(forms, key=lambda form: len(tokenizer.encode_words(f" {form}")))


def _has_words(text: str, tokenizer: Tokens) -> bool:
    """Whether anything is left without mark-up, the tokens that the tokenizer added to its words, and punctuation."""
    for token in sorted(tokenizer.tokenizer.get_added_vocab(), key=len, reverse=True):
        text = text.replace(token, " ")
    return any(not unicodedata.category(each).startswith(NO_WORDS) for each in MARK_UP.sub(" ", text))


def check_length(model: Model, images: ImageBatch, question: str, grammar: TokenGrammar) -> None:
    """Raises VilamError if a question about the only image has more tokens than the model has positions for.

    Its image's tokens and those of its longest answer count, though an answer takes no more than half of the positions.
    InstructBLIP's Q-Former, which reads the question too, has positions of its own.
    """
    network = model.network
    limits = {"input_ids": position_limit(model)}
    if (former := getattr(network.config, "qformer_config", None)) is not None:
        limits["qformer_input_ids"] = former.max_position_embeddings
    if all(limit is None or len(question.encode()) * UNCOUNTED <= limit for limit in limits.values()):
        return
    inputs = network.pack(model.tokenizer, images, [[Turn(question, ())]]).inputs
    for name, limit in limits.items():
        if limit is None or name not in inputs:
            continue
        tokens = inputs[name].shape[1]
        if name == "input_ids":
            tokens += inputs["tails"].shape[1] if "tails" in inputs else 0
            tokens += _before_text(network, images)
            if not network.config.get_text_config().is_encoder_decoder:  # there, the answer has positions of its own
                tokens += min(_longest(grammar), limit // 2)
        if tokens > limit:
            raise VilamError(
                f"the expression is too long: with the image and the longest answer it takes {tokens} tokens, and the "
                f"model reads {limit}: shorten it"
            )


def _before_text(network: GroundingModel, images: ImageBatch) -> int:
    """The position of the text of a composed model; in other models the image's tokens are among the text's."""
    if not isinstance(network, VilamForConditionalGeneration):
        return 0
    return network.image_positions(network.before_text(network.encode_images(images[:1])).shape[1])[1]


def position_limit(model: Model) -> int | None:
    """The tokens that a language model reads at most; None if neither its config nor its tokenizer has a limit."""
    positions = getattr(model.network.config.get_text_config(), "max_position_embeddings", None)
    if isinstance(positions, int):
        return positions
    longest = model.tokenizer.tokenizer.model_max_length  # of T5, whose positions are relative
    return int(longest) if longest < NO_LIMIT else None


def _longest(grammar: TokenGrammar) -> int:
    """Tokens of the longest answer and of its end."""
    depths: dict[int, int] = {}
    return 1 + max(sum(_slot_tokens(slot, depths) for slot in slots) for slots in grammar.alternatives)


def _slot_tokens(slot: Slot, depths: dict[int, int]) -> int:
    if slot.trie is None:
        return MAX_TOKENS
    if id(slot.trie) not in depths:
        depths[id(slot.trie)] = _depth(slot.trie)
    return depths[id(slot.trie)]


def _depth(node: Node) -> int:
    return max((1 + _depth(child) for child in node.children.values()), default=0)
