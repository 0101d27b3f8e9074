"""Metrics of generated expressions: CIDEr-D, COCO's own metrics of captions if they are installed, and diversity."""

from __future__ import annotations

import logging
import math
import re
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec

PACKAGE = "pycocoevalcap"
"""COCO's caption evaluation (the extra ``captions``), Chen et al., arXiv 1504.00325."""
NGRAM_SIZES = 4
LENGTH_SIGMA = 6.0

Ngrams = Counter[tuple[str, ...]]

logger = logging.getLogger(__name__)


def words(text: str) -> list[str]:
    """Lower-case words and numbers of a text, without punctuation: the tokens of CIDEr and of exact match."""
    return re.findall(r"[^\W_]+(?:'[^\W_]+)?", text.lower())


def cider(
    candidates: Sequence[str], references: Sequence[Sequence[str]], documents: Sequence[Sequence[str]]
) -> list[float]:
    """CIDEr-D of each candidate against its references, 0..10 each.

    Source: Vedantam et al., "CIDEr" (2015) in the form of the COCO caption evaluation (``CiderScorer`` of
    pycocoevalcap): n-grams of 1 to 4 words, counts clipped to the reference's, a Gaussian penalty with sigma 6 on
    the difference in length, the mean over n and over references, times 10. Deviation: ``words`` splits the texts
    instead of the Penn Treebank tokeniser, which needs Java.

    references: the accepted texts of each candidate, one at least. documents: the references of each evaluated
    region once; they give the document frequencies. An expression of fewer than four words has no 4-grams and cannot
    reach 10, in the official scorer either.
    """
    frequencies = Counter(ngram for texts in documents for ngram in set().union(*map(_ngrams, texts)))
    weigh = _Weights(frequencies, math.log(max(len(documents), 1)))
    return [_score(weigh, candidate, texts) for candidate, texts in zip(candidates, references, strict=True)]


@dataclass(frozen=True, slots=True)
class _Weights:
    """Inverse document frequencies: n-grams that are common to many regions weigh little."""

    frequencies: Ngrams
    log_documents: float

    def __call__(self, ngrams: Ngrams, size: int) -> dict[tuple[str, ...], float]:
        return {
            ngram: count * (self.log_documents - math.log(max(1, self.frequencies[ngram])))
            for ngram, count in ngrams.items()
            if len(ngram) == size
        }


def _ngrams(text: str) -> Ngrams:
    tokens = words(text)
    return Counter(
        tuple(tokens[start : start + size])
        for size in range(1, NGRAM_SIZES + 1)
        for start in range(len(tokens) - size + 1)
    )


def _score(weigh: _Weights, candidate: str, references: Sequence[str]) -> float:
    similarities = [_similarity(weigh, candidate, reference) for reference in references]
    return 10 * sum(similarities) / len(similarities)


def _similarity(weigh: _Weights, candidate: str, reference: str) -> float:
    gap = len(words(candidate)) - len(words(reference))
    penalty = math.exp(-(gap**2) / (2 * LENGTH_SIGMA**2))
    ours, theirs = _ngrams(candidate), _ngrams(reference)
    cosines = (_clipped_cosine(weigh(ours, size), weigh(theirs, size)) for size in range(1, NGRAM_SIZES + 1))
    return penalty * sum(cosines) / NGRAM_SIZES


def _clipped_cosine(ours: dict[tuple[str, ...], float], theirs: dict[tuple[str, ...], float]) -> float:
    norm = math.hypot(*ours.values()) * math.hypot(*theirs.values())
    product = sum(min(weight, theirs[ngram]) * theirs[ngram] for ngram, weight in ours.items() if ngram in theirs)
    return product / norm if norm else 0.0


def coco_caption_metrics(candidates: Sequence[str], references: Sequence[Sequence[str]]) -> dict[str, float]:
    """``coco_bleu_4``, ``coco_meteor``, ``coco_rouge_l`` (0 to 1) and ``coco_cider`` (0 to 10) over all candidates.

    PACKAGE computes them, so that they compare with published numbers. Its tokeniser and METEOR run in Java. Each
    candidate has one reference or more. Returns {} if the package is not installed, and {} with a warning if there is
    no Java.
    """
    if find_spec(PACKAGE) is None or not candidates:
        return {}
    if shutil.which("java") is None:
        logger.warning("BLEU, METEOR and ROUGE of captions are left out: %s needs Java, which was not found", PACKAGE)
        return {}
    true, written = _tokenised(references), _tokenised([[each] for each in candidates])
    bleu = import_module(f"{PACKAGE}.bleu.bleu").Bleu(4).compute_score(true, written, verbose=0)[0]
    others = {
        "meteor": import_module(f"{PACKAGE}.meteor.meteor").Meteor(),
        "rouge_l": import_module(f"{PACKAGE}.rouge.rouge").Rouge(),
        "cider": import_module(f"{PACKAGE}.cider.cider").Cider(),
    }
    scores = {f"coco_{name}": float(scorer.compute_score(true, written)[0]) for name, scorer in others.items()}
    return {"coco_bleu_4": float(bleu[3]), **scores}


def _tokenised(texts: Sequence[Sequence[str]]) -> dict[int, list[str]]:
    """Texts by number, in lower case and without punctuation; an empty text becomes a token that nothing matches."""
    tokenizer = import_module(f"{PACKAGE}.tokenizer.ptbtokenizer").PTBTokenizer()
    listed = {number: [{"caption": text or "."} for text in own] for number, own in enumerate(texts)}
    found: dict[int, list[str]] = tokenizer.tokenize(listed)
    return found


def diversity(expressions: Sequence[str]) -> dict[str, float]:
    """Whether a model still writes different expressions: the alarm for a cycle that collapses into one phrase.

    distinct_1, distinct_2: different n-grams per n-gram (Li et al., arXiv 1510.03055); num_words: mean length;
    entropy: bits of the expressions' distribution, over log2 of their number (1: all differ, 0: all are the same).

    Returns {} without expressions.
    """
    if not expressions:
        return {}
    tokens = [words(expression) for expression in expressions]
    counts = Counter(map(tuple, tokens))
    fractions = [count / len(tokens) for count in counts.values()]
    bits = -sum(fraction * math.log2(fraction) for fraction in fractions)
    return {
        "distinct_1": _distinct(tokens, 1),
        "distinct_2": _distinct(tokens, 2),
        "num_words": sum(map(len, tokens)) / len(tokens),
        "entropy": bits / math.log2(len(tokens)) if len(tokens) > 1 else 1.0,
    }


def _distinct(tokens: Sequence[Sequence[str]], size: int) -> float:
    grams = [tuple(each[i : i + size]) for each in tokens for i in range(len(each) - size + 1)]
    return len(set(grams)) / len(grams) if grams else 0.0
