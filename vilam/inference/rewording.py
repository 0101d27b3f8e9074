"""Other words for a region than the model's own: what it is by its right name, and nothing that it can do without.

A model that has met few words says more than it knows: "the checked ring" of a striped one, and the way back does not
tell, since the other direction knows checks no better. But its samples do: one says "checked", the next "dotted". So
shorter forms are tried, and of what returns that is taken on which the samples agree most. And what a region is, a
detection data set knows of every box: another category is put right.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from torch import Tensor

from vilam.data.records import ImageRecord
from vilam.inference.round_trip import REC, Place, Traveller, Trip, ask, ended, names
from vilam.inference.scoring import Given, log_probabilities
from vilam.models.family import GroundingModel
from vilam.tasks.reg_caption import normalised

FORMS = 6
"""Other forms that are tried of a region's expressions: the likeliest."""


@dataclass(frozen=True, slots=True)
class _Form:
    """Words that are tried for a region (by its number in the batch), and the answer that they are."""

    region: int
    words: str
    answer: Given


def ranked(trips: Sequence[Trip], samples: Sequence[Trip], category: str, min_iou: float) -> list[Trip]:
    """The trips that return, those first whose words had best be learnt.

    Words that name the category go before others; among these those on which the ``samples`` agree most (each word
    counts for the samples that say it and against the others), and of such the likeliest: a majority's vote, as in
    self-consistency (Wang et al., arXiv 2203.11171), word by word.
    """
    votes = Counter(word for sample in samples for word in _words(sample))

    def place(trip: Trip) -> tuple[bool, int, float]:
        agreement = sum(2 * votes[word] - len(samples) for word in _words(trip))
        return not names(trip.words, category), -agreement, -trip.log_probability

    return sorted((trip for trip in trips if trip.returns(min_iou)), key=place)


def _words(trip: Trip) -> set[str]:
    return set(normalised(trip.words).split())


def reworded(
    traveller: Traveller,
    model: GroundingModel,
    records: Sequence[ImageRecord],
    places: Sequence[Place],
    trips: Sequence[Sequence[Trip]],
    min_iou: float,
    max_words: int,
) -> list[list[Trip]]:
    """The trips of each place and the likeliest of other forms of one of them, sent back as they were.

    That one is the likeliest that returns, or where none does the likeliest of all, of those that name the category
    once they are `corrected`; its other forms are that, and `shorter` ones.
    """
    more: list[list[Trip]] = [list(of_region) for of_region in trips]
    possible = _forms(traveller, records, places, trips, min_iou, max_words)
    if not possible:
        return more
    pixels = model.see([record.image for record in records])
    forms = _likeliest(traveller, model, pixels, possible)
    asked = [ask(REC, 0, records, places[form.region], form.words) for form, _ in forms]
    for (form, scores), found in zip(forms, traveller.find(model, pixels, records, asked), strict=True):
        confidence = math.exp(sum(scores) / len(scores))
        more[form.region].append(Trip(form.answer.question, form.words, form.answer.ids, confidence, found))
    return more


def corrected(words: str, category: str, categories: Sequence[str]) -> str:
    """An expression that names another category, and not its own, with its own in place of the first that it names."""
    if names(words, category):
        return words
    named = "|".join(map(re.escape, sorted(categories, key=len, reverse=True)))
    return re.sub(rf"(?<!\w)(?:{named})(?!\w)", lambda _: category, words, count=1, flags=re.IGNORECASE)


def shorter(words: str, category: str) -> list[str]:
    """An expression without one of its words, without some after its first or without some at its end.

    Its first word and the name of the category are left in it.
    """
    parts = words.split()
    length = len(parts)
    runs = [(i, i + 1) for i in range(1, length)] + [(1, i) for i in range(3, length)]
    runs += [(i, length) for i in range(1, length - 1)]
    forms = (" ".join(parts[:start] + parts[end:]) for start, end in runs)
    return list(dict.fromkeys(form for form in forms if names(form, category)))


def _forms(
    traveller: Traveller,
    records: Sequence[ImageRecord],
    places: Sequence[Place],
    trips: Sequence[Sequence[Trip]],
    min_iou: float,
    max_words: int,
) -> list[_Form]:
    """Other forms of one trip of each region, if any names a category and was not cut off."""
    forms = []
    for number, (place, of_region) in enumerate(zip(places, trips, strict=True)):
        category = place[1].category
        whole = [trip for trip in of_region if ended(trip.ids, max_words)]
        right = [(corrected(trip.words, category, traveller.card.categories), trip) for trip in whole]
        named = [(words, trip) for words, trip in right if names(words, category)]
        if not named:
            continue
        words, one = max(named, key=lambda pair: (pair[1].returns(min_iou), pair[1].log_probability))
        known = {trip.words for trip in of_region}
        forms += [
            _Form(number, form, Given(place[0], one.question, tuple(traveller.tokenizer.encode_answer(form))))
            for form in [words, *shorter(words, category)]
            if form not in known and traveller.may_say(form, records, place)
        ]
    return forms


def _likeliest(
    traveller: Traveller, model: GroundingModel, pixels: Tensor, forms: Sequence[_Form]
) -> list[tuple[_Form, tuple[float, ...]]]:
    """The few likeliest forms of each place with the log probabilities of their tokens."""
    scores = log_probabilities(model, traveller.tokenizer, pixels, [form.answer for form in forms])
    scored = list(zip(forms, scores, strict=True))
    scored.sort(key=lambda pair: (pair[0].region, -sum(pair[1])))
    return [pair for _, group in groupby(scored, key=lambda pair: pair[0].region) for pair in list(group)[:FORMS]]
