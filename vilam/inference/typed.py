"""What people type, as a model reads it: words of one line, in the case of its training, no longer than it can read."""

from __future__ import annotations

import re
import unicodedata

from vilam.errors import VilamError
from vilam.inference.constraints import Node, Slot, TokenGrammar
from vilam.inference.generate import MAX_TOKENS
from vilam.inference.lengths import overflow
from vilam.inference.model import Model
from vilam.models.interface import ImageBatch, Tokens, Turn

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


def as_read(expression: object, model: Model) -> str:
    """The expression that a person typed, as the model reads it; raises VilamError if it says nothing.

    Spaces become single ones; final punctuation goes, and so do brackets and quotation marks around the whole. A model
    that learnt its words here gets them in the case in which it learnt them (`in_known_case`). A pretrained language
    model knows the case of words, and gets what is typed.
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
    """Raises VilamError if a question about the only image, with its longest answer, is longer than the model reads.

    The answer counts for no more than half of the positions.
    """
    found = overflow(model, images, Turn(question, ()), lambda limit: min(_longest(grammar), limit // 2))
    if found is not None:
        raise VilamError(
            f"the expression is too long: with the image and the longest answer it takes {found[0]} tokens, and the "
            f"model reads {found[1]}: shorten it"
        )


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
