"""Whether a model still writes different expressions: the alarms for a cycle that collapses into one phrase."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from vilam.evaluation.captions import words


def diversity(expressions: Sequence[str]) -> dict[str, float]:
    """distinct_1, distinct_2: different n-grams per n-gram (Li et al., arXiv 1510.03055); num_words: mean length;
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
