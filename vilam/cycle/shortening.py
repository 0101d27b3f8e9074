"""Other expressions for a region than the model's own: with the right category, and without needless words.

A model that has met few expressions writes more than it knows: "the checked ring" about a striped one. REC does
not notice, because it knows checks no better. But the samples differ: one has "checked", the next "dotted". So shorter
forms are tried, and of those that return, the one on which the samples agree most is taken. A detection data set knows
the category of every box, so another category is corrected.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from vilam.cycle.round_trip import (
    REC,
    BatchRegion,
    RoundTrip,
    find,
    has_ended,
    may_describe,
    names_category,
    rec_query,
)
from vilam.data.records import ImageRecord
from vilam.inference.model import Model
from vilam.inference.scoring import Target, log_probabilities
from vilam.models.interface import ImageBatch
from vilam.tasks.reg_caption import normalised

FORMS = 6
"""The number of other forms of a region's expressions that are tried, the most probable ones first."""


@dataclass(frozen=True, slots=True)
class _Form:
    """An expression that is tried for a region (by its index among the regions), and the answer that it would be."""

    region: int
    words: str
    target: Target


def ranked(
    round_trips: Sequence[RoundTrip], samples: Sequence[RoundTrip], category: str, min_iou: float
) -> list[RoundTrip]:
    """The round trips that return, the best to learn from first.

    Expressions that name the category come before others. Among these come first those on which the ``samples`` agree
    most: each word counts for the samples that hold it and against the others. Then the most probable. It is a majority
    vote as in self-consistency (Wang et al., arXiv 2203.11171), word by word.
    """
    votes = Counter(word for sample in samples for word in _distinct_words(sample))

    def rank(round_trip: RoundTrip) -> tuple[bool, int, float]:
        agreement = sum(2 * votes[word] - len(samples) for word in _distinct_words(round_trip))
        return not names_category(round_trip.words, category), -agreement, -round_trip.log_probability

    return sorted((each for each in round_trips if each.returns(min_iou)), key=rank)


def _distinct_words(round_trip: RoundTrip) -> set[str]:
    return set(normalised(round_trip.words).split())


def with_other_forms(
    model: Model,
    records: Sequence[ImageRecord],
    regions: Sequence[BatchRegion],
    round_trips: Sequence[Sequence[RoundTrip]],
    min_iou: float,
    max_tokens: int,
) -> list[list[RoundTrip]]:
    """The round trips of each region, and those of the most probable other forms of one of its expressions.

    That expression names the category once it is `corrected`. It is the most probable one that returns, or the most
    probable of all if none returns. Its other forms are the corrected one and `shorter` ones.
    """
    more: list[list[RoundTrip]] = [list(of_region) for of_region in round_trips]
    possible = _forms(model, records, regions, round_trips, min_iou, max_tokens)
    if not possible:
        return more
    images = model.network.preprocess([record.image for record in records])
    forms = _most_probable(model, images, possible)
    queries = [rec_query(REC, 0, records, regions[form.region], form.words) for form, _ in forms]
    for (form, scores), found in zip(forms, find(model, images, records, queries), strict=True):
        confidence = math.exp(sum(scores) / len(scores))
        more[form.region].append(RoundTrip(form.target.question, form.words, form.target.ids, confidence, found))
    return more


def corrected(words: str, category: str, categories: Sequence[str]) -> str:
    """An expression that names another category, and not its own, with its own in place of the first that it names."""
    if names_category(words, category):
        return words
    others = "|".join(map(re.escape, sorted(categories, key=len, reverse=True)))
    return re.sub(rf"(?<!\w)(?:{others})(?!\w)", lambda _: category, words, count=1, flags=re.IGNORECASE)


def shorter(words: str, category: str) -> list[str]:
    """An expression without one of its words, without some after its first, or without some at its end.

    Its first word and the name of the category stay.
    """
    parts = words.split()
    length = len(parts)
    runs = [(i, i + 1) for i in range(1, length)] + [(1, i) for i in range(3, length)]
    runs += [(i, length) for i in range(1, length - 1)]
    forms = (" ".join(parts[:start] + parts[end:]) for start, end in runs)
    return list(dict.fromkeys(form for form in forms if names_category(form, category)))


def _forms(
    model: Model,
    records: Sequence[ImageRecord],
    regions: Sequence[BatchRegion],
    round_trips: Sequence[Sequence[RoundTrip]],
    min_iou: float,
    max_tokens: int,
) -> list[_Form]:
    """Other forms of one expression of each region, if any names a category and was not cut off."""
    forms = []
    for number, (region, of_region) in enumerate(zip(regions, round_trips, strict=True)):
        category = region[1].category
        complete = [each for each in of_region if has_ended(each.ids, max_tokens)]
        right = [(corrected(each.words, category, model.card.categories), each) for each in complete]
        named = [(words, round_trip) for words, round_trip in right if names_category(words, category)]
        if not named:
            continue
        words, one = max(named, key=lambda pair: (pair[1].returns(min_iou), pair[1].log_probability))
        known = {each.words for each in of_region}
        forms += [
            _Form(number, form, Target(region[0], one.question, tuple(model.tokenizer.encode_answer(form))))
            for form in [words, *shorter(words, category)]
            if form not in known and may_describe(form, records, region, model.card)
        ]
    return forms


def _most_probable(model: Model, images: ImageBatch, forms: Sequence[_Form]) -> list[tuple[_Form, tuple[float, ...]]]:
    """The FORMS most probable forms of each region with the log probabilities of their tokens."""
    scores = log_probabilities(model, images, [form.target for form in forms])
    scored = list(zip(forms, scores, strict=True))
    scored.sort(key=lambda pair: (pair[0].region, -sum(pair[1])))
    return [pair for _, group in groupby(scored, key=lambda pair: pair[0].region) for pair in list(group)[:FORMS]]
