"""Fewer words: what the way back to a region does not need is left out of what is told again.

A model that has met few words says more than it knows: "the checked ring" of a striped one, and the way back does not
tell, since the other direction knows checks no better. So shorter forms of its expressions are tried, and of those that
return one of the shortest is taken that the model still finds likely: every word has to earn its place.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from vilam.data.records import ImageRecord
from vilam.inference.round_trip import REC, Place, Traveller, Trip, ask, names
from vilam.inference.scoring import Given, log_probabilities
from vilam.models.images import load_pixels
from vilam.models.vilam import VilamForConditionalGeneration

FORMS = 6
"""Shorter forms that are tried of a region's expressions: the likeliest."""


@dataclass(frozen=True, slots=True)
class _Form:
    """Words that are tried for a region (by its number in the batch), as an answer to this question."""

    region: int
    question: str
    words: str


def briefest(trips: Sequence[Trip], category: str, min_iou: float, brevity: float) -> Trip:
    """Of the trips that return, one of the fewest words; of all where none does.

    Those that name the category go before others. ``brevity``: how much log probability of the words as a whole may be
    given up for fewer of them; at 0 it is the likeliest.
    """
    returning = [trip for trip in trips if trip.returns(min_iou)] or trips
    chosen = [trip for trip in returning if names(trip.words, category)] or returning
    floor = max(trip.log_probability for trip in chosen) - brevity
    likely = [trip for trip in chosen if trip.log_probability >= floor]
    return min(likely, key=lambda trip: (len(trip.words.split()), -trip.log_probability))


def shortened(
    traveller: Traveller,
    model: VilamForConditionalGeneration,
    records: Sequence[ImageRecord],
    places: Sequence[Place],
    trips: Sequence[Sequence[Trip]],
    min_iou: float,
) -> list[list[Trip]]:
    """The trips of each place and those of the likeliest shorter forms of the best of them.

    That is the likeliest that returns, of those that name the category, or where none does the likeliest of these.
    """
    pixels = load_pixels([record.image for record in records], model.config).to(model.device)
    forms = _likeliest(traveller, model, pixels, places, _forms(traveller, records, places, trips, min_iou))
    asked = [ask(REC, 0, *places[form.region], form.words) for form, _ in forms]
    more: list[list[Trip]] = [list(of_region) for of_region in trips]
    for (form, scores), found in zip(forms, traveller.find(model, pixels, records, asked), strict=True):
        ids = tuple(traveller.tokenizer.encode_answer(form.words))
        confidence = math.exp(sum(scores) / len(scores))
        more[form.region].append(Trip(form.question, form.words, ids, confidence, found))
    return more


def shorter(words: str, category: str) -> list[str]:
    """An expression with one run of words left out, in every way that leaves its first word and the category."""
    parts = words.split()
    runs = [(start, end) for start in range(1, len(parts)) for end in range(start + 1, len(parts) + 1)]
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
            forms += [_Form(number, one.question, form) for form in new if traveller.may_say(form, records, place)]
    return forms


def _likeliest(
    traveller: Traveller,
    model: VilamForConditionalGeneration,
    pixels: Tensor,
    places: Sequence[Place],
    forms: Sequence[_Form],
) -> list[tuple[_Form, tuple[float, ...]]]:
    """The few likeliest forms of each place with the log probabilities of their tokens."""
    encode = traveller.tokenizer.encode_answer
    given = [Given(places[form.region][0], form.question, tuple(encode(form.words))) for form in forms]
    scored = list(zip(forms, log_probabilities(model, traveller.tokenizer, pixels, given), strict=True))
    ranked = sorted(scored, key=lambda pair: -sum(pair[1]))
    return [pair for number in range(len(places)) for pair in [p for p in ranked if p[0].region == number][:FORMS]]
