"""Fewer words: what the way back to a region does not need is left out of what is told again.

A model that has met few words says more than it knows: "the checked ring" of a striped one, and the way back does not
tell, since the other direction knows checks no better. So shorter forms of its expressions are tried, and of those that
return one of the shortest is taken that the model still finds likely: every word has to earn its place.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from torch import Tensor

from vilam.data.records import ImageRecord
from vilam.inference.round_trip import REC, Place, Traveller, Trip, ask, names
from vilam.inference.scoring import Given, log_probabilities
from vilam.models.images import load_pixels
from vilam.models.vilam import VilamForConditionalGeneration
from vilam.tasks.reg_caption import normalised

FORMS = 6
"""Shorter forms that are tried of a region's expressions: the likeliest."""


@dataclass(frozen=True, slots=True)
class _Form:
    """Words that are tried for a region (by its number in the batch), and the answer that they are."""

    region: int
    words: str
    answer: Given


def ranked(trips: Sequence[Trip], category: str, min_iou: float, brevity: float) -> list[Trip]:
    """The trips that return, those first whose words had best be learnt.

    Words that name the category go before others; among these the fewest, but for an article, of all that are likely
    enough, and then the rest by how likely they are. ``brevity``: how much log probability of the words as a whole may
    be given up for fewer of them; at 0 the likeliest come first.
    """
    returning = [trip for trip in trips if trip.returns(min_iou)]
    named = [trip for trip in returning if names(trip.words, category)]
    floor = max((trip.log_probability for trip in named or returning), default=0.0) - brevity

    def place(trip: Trip) -> tuple[bool, bool, int, float]:
        rare = trip.log_probability < floor
        count = 0 if rare else len(normalised(trip.words).split())
        return bool(named) and not names(trip.words, category), rare, count, -trip.log_probability

    return sorted(returning, key=place)


def shortened(
    traveller: Traveller,
    model: VilamForConditionalGeneration,
    records: Sequence[ImageRecord],
    places: Sequence[Place],
    trips: Sequence[Sequence[Trip]],
    min_iou: float,
    brevity: float,
) -> list[list[Trip]]:
    """The trips of each place and, where ``brevity`` is above 0, of the likeliest shorter forms of the best of them.

    That is the likeliest that returns, of those that name the category, or where none does the likeliest of these.
    """
    more: list[list[Trip]] = [list(of_region) for of_region in trips]
    possible = _forms(traveller, records, places, trips, min_iou) if brevity > 0 else []
    if not possible:
        return more
    pixels = load_pixels([record.image for record in records], model.config).to(model.device)
    forms = _likeliest(traveller, model, pixels, possible)
    asked = [ask(REC, 0, *places[form.region], form.words) for form, _ in forms]
    for (form, scores), found in zip(forms, traveller.find(model, pixels, records, asked), strict=True):
        confidence = math.exp(sum(scores) / len(scores))
        more[form.region].append(Trip(form.answer.question, form.words, form.answer.ids, confidence, found))
    return more


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
) -> list[_Form]:
    """Shorter forms of one trip of each region, if any names the category and leads anywhere."""
    forms = []
    for number, (place, of_region) in enumerate(zip(places, trips, strict=True)):
        category, known = place[1].category, {trip.words for trip in of_region}
        able = [trip for trip in of_region if trip.found.box_xyxy is not None and names(trip.words, category)]
        if able:
            one = max(able, key=lambda trip: (trip.returns(min_iou), trip.log_probability))
            new = [form for form in shorter(one.words, category) if form not in known]
            forms += [
                _Form(number, form, Given(place[0], one.question, tuple(traveller.tokenizer.encode_answer(form))))
                for form in new
                if traveller.may_say(form, records, place)
            ]
    return forms


def _likeliest(
    traveller: Traveller, model: VilamForConditionalGeneration, pixels: Tensor, forms: Sequence[_Form]
) -> list[tuple[_Form, tuple[float, ...]]]:
    """The few likeliest forms of each place with the log probabilities of their tokens."""
    scores = log_probabilities(model, traveller.tokenizer, pixels, [form.answer for form in forms])
    scored = list(zip(forms, scores, strict=True))
    scored.sort(key=lambda pair: (pair[0].region, -sum(pair[1])))
    return [pair for _, group in groupby(scored, key=lambda pair: pair[0].region) for pair in list(group)[:FORMS]]
