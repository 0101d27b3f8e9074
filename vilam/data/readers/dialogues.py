"""Questions and answers with boxes in the text: which words mean which boxes.

Words are marked (``<ref>a fox</ref>``, ``<|object_ref_start|>a fox<|object_ref_end|>``, ``<p>a fox</p>``), are the
label of a JSON answer, or are the question that boxes alone answer. If a question shows a box, the answer is its words.
Boxes are four numbers: ``(1,2),(3,4)``, ``[1, 2, 3, 4]``, several parted by ``;``, or ``{<1><2><3><4>}``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from vilam.geometry.boxes import Box

_N = r"\s*(-?\d+(?:\.\d+)?(?:[eE]-?\d+)?)\s*"
_FOUR = rf"{_N},{_N},{_N},{_N}"
BOX = re.compile(rf"\({_N},{_N}\)(?:\s*,)?\s*\({_N},{_N}\)|(?<=[\[;]){_FOUR}(?=[\];])|\{{<{_N}><{_N}><{_N}><{_N}>\}}")
REF = re.compile(r"<ref>([^<]*)</ref>|<\|object_ref_start\|>([^<]*)<\|object_ref_end\|>|<p>([^<]*)</p>")
MARK = re.compile(r"</?(?:ref|box|p|img|image|image-\d+|s)>|<\|[a-z_]+\|>|Picture \d+:\s*<img>[^<]*</img>", re.DOTALL)
FENCE = re.compile(r"```(?:json)?(.*?)```", re.DOTALL)
BOX_KEYS, LABEL_KEYS = (
    ("bbox_2d", "bbox"),
    ("label", "text_content", "description", "caption", "category", "name", "ref"),
)

QUOTED = re.compile(r"[\"“]([^\"“”]{2,})[\"”]")
AFTER_COLON = re.compile(
    r"\b(?:sentence|phrase|expression|description|object|text)\b[^:.]{0,60}:\s*(.+)$", re.IGNORECASE | re.DOTALL
)
ASKED = re.compile(
    r"^(?:(?:please|can you|could you|kindly|help me|i want to)\s+)*"
    r"(?:where(?:'s| is| are)|locate|find|detect|ground|point (?:out|to|at)|identify|segment|mark|highlight|box|show|"
    r"provide|give|output|return|report|outline|tell|draw)\s+(?:me\s+)?"
    r"(?:(?:a|the|all|its)?\s*(?:positions?|locations?|bounding[ -]?box(?:es)?|bbox(?:es)?|box(?:es)?|coordinates?)"
    r"(?:\s+coordinates?)?\s+(?:of|for|around)\s+)?(.+)$",
    re.IGNORECASE | re.DOTALL,
)
TAIL = re.compile(
    r"\s+(?:in|on|within|from)\s+(?:this|the)\s+(?:image|picture|photo)(?=\s*(?:$|[.,;?!]|and\b)).*$"
    r"|(?:[.,;?!]|\s+and)\s+(?:please\s+)?(?:output|return|report|answer|respond|provide|give|format)\b.*$"
    r"|\s+(?:in|as)\s+json\b.*$",
    re.IGNORECASE | re.DOTALL,
)
SENTENCE = re.compile(r"(?<=[.?!])\s+")
ARTICLE = re.compile(r"^(?:an?|the|all|every|each)\s+", re.IGNORECASE)
GENERAL = re.compile(
    r"(?:(?:all|any|the|of|every|each)\s+)*(?:objects?|things?|items?|instances?|everything|anything)", re.IGNORECASE
)
"""Words of questions that mean nothing in particular."""
FEW_WORDS = 2
"""Words that a question may have by chance, at most."""
NO_WORDS = ("yes", "no", "true", "false", "none")


@dataclass(frozen=True, slots=True)
class Mention:
    """Boxes, and the words that mean them: None if nobody tells.

    is_label: whether they are the label of a JSON answer to a question that does not name it alone.
    """

    text: str | None
    boxes: tuple[Box, ...] = ()
    is_label: bool = False


def mentions(turns: Sequence[tuple[str, str]]) -> list[Mention]:
    """What the questions and answers of a conversation mention; ``turns``: a role (user or assistant) and a text."""
    found: list[Mention] = []
    question = ""
    for role, text in turns:
        if role == "assistant":
            found += _pair(question, text)
            question = ""
        elif role == "user":
            question = f"{question}\n{text}".strip()
    return found + (_pair(question, "") if question else [])


def _pair(question: str, answer: str) -> list[Mention]:
    """The mentions of a question and its answer."""
    asked, told = _marked(question), _from_json(answer)
    told = _marked(answer) if told is None else _unless_asked(question, told)
    shown, names = [one for one in asked if one.boxes], [one for one in asked if not one.boxes]
    bare = [one for one in told if one.boxes and one.text is None]
    complete = _by_text(one for one in told if one.boxes and one.text is not None)
    if not any(one.boxes for one in told):
        return _described(shown, [one for one in told if one.text], answer) + _of_none(question, names, answer)
    return [*(one for one in shown if one.text), *complete, *_asked_for(question, names, bare)]


def _asked_for(question: str, names: Sequence[Mention], bare: Sequence[Mention]) -> list[Mention]:
    """Boxes without words, with the words of the question."""
    boxes = tuple(box for one in bare for box in one.boxes)
    if len(names) > 1 and len(names) == len(boxes):
        return [Mention(one.text, (box,)) for one, box in zip(names, boxes, strict=True)]
    text = names[0].text if len(names) == 1 else asked_words(question) if not names else None
    return [Mention(text, boxes)] if boxes else []


def _described(shown: Sequence[Mention], names: Sequence[Mention], answer: str) -> list[Mention]:
    """Boxes that a question shows, with the words of the answer."""
    bare = [box for one in shown if one.text is None for box in one.boxes]
    texts = [one.text for one in names]
    if not texts and len(bare) == 1:
        words = plain(answer).rstrip(".")
        texts = [words if len(words) > 1 and words.lower() not in NO_WORDS else None]
    if len(texts) != len(bare):
        texts = [None] * len(bare)
    return [*(one for one in shown if one.text), *(Mention(t, (box,)) for t, box in zip(texts, bare, strict=True))]


def _of_none(question: str, names: Sequence[Mention], answer: str) -> list[Mention]:
    """The words of a question whose answer is an empty list."""
    fenced = FENCE.search(answer)
    if (fenced[1] if fenced else answer).strip() != "[]":
        return []
    text = names[0].text if len(names) == 1 else asked_words(question)
    return [Mention(text)] if text else []


def _marked(text: str) -> list[Mention]:
    """Words with the boxes behind them, words alone, and boxes alone, in the order of a text."""
    found: list[Mention] = []
    end = 0
    for match in sorted([*REF.finditer(text), *BOX.finditer(text)], key=lambda one: one.start()):
        if match.re is REF:
            found.append(Mention(plain(next(group for group in match.groups() if group is not None))))
        elif found and found[-1].text and (not found[-1].boxes or _is_gap(text[end : match.start()])):
            found[-1] = Mention(found[-1].text, (*found[-1].boxes, _box(match)))
        else:
            found.append(Mention(None, (_box(match),)))
        end = match.end()
    return found


def _by_text(found: Iterable[Mention]) -> list[Mention]:
    """Mentions with words, each once, with all boxes that it means."""
    boxes: dict[tuple[str | None, bool], tuple[Box, ...]] = {}
    for one in found:
        key = one.text, one.is_label
        boxes[key] = (*boxes.get(key, ()), *one.boxes)
    return [Mention(text, own, is_label) for (text, is_label), own in boxes.items()]


def _box(match: re.Match[str]) -> Box:
    x1, y1, x2, y2 = (float(value) for value in match.groups() if value is not None)
    return min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2)


def _is_gap(text: str) -> bool:
    """Whether there are no words between two boxes."""
    return not re.sub(r"\band\b|[^\w]", "", MARK.sub("", text))


def _from_json(answer: str) -> list[Mention] | None:
    """The boxes of a JSON answer with their labels; None if it is no JSON with boxes."""
    if not any(f'"{key}"' in answer for key in BOX_KEYS):
        return None
    fenced = FENCE.search(answer)
    try:
        content = json.loads(fenced[1] if fenced else answer[_start(answer) :])
    except (ValueError, RecursionError):
        return None
    found: dict[str | None, list[Box]] = {}
    for row in content if isinstance(content, list) else [content]:
        for text, box in _json_boxes(row):
            found.setdefault(text, []).append(box)
    return [Mention(text, tuple(boxes), text is not None) for text, boxes in found.items()]


def _unless_asked(question: str, found: list[Mention]) -> list[Mention]:
    """The only label of an answer is no label if it repeats the words of the question."""
    text = found[0].text if len(found) == 1 else None
    asked = ARTICLE.sub("", asked_words(question) or "").casefold()
    if text is None or not (
        ARTICLE.sub("", text).casefold() == asked
        or (len(text.split()) > FEW_WORDS and text.casefold() in plain(question).casefold())
    ):
        return found
    return [Mention(text, found[0].boxes)]


def _start(answer: str) -> int:
    return min(place for place in (answer.find("["), answer.find("{"), len(answer)) if place >= 0)


def _json_boxes(row: Any) -> Iterator[tuple[str | None, Box]]:
    if not isinstance(row, dict):
        return
    listed: list[Any] = next((row[key] for key in BOX_KEYS if isinstance(row.get(key), list)), [])
    label = next((plain(row[key]) for key in LABEL_KEYS if isinstance(row.get(key), str)), None)
    for numbers in listed if listed and isinstance(listed[0], list) else [listed]:
        if match := BOX.search(json.dumps(numbers)):
            yield label or None, _box(match)


def plain(text: str) -> str:
    """A text without the tokens that mark images, words and boxes."""
    return " ".join(MARK.sub(" ", BOX.sub("", text)).split())


def asked_words(question: str) -> str | None:
    """The words that a question asks for, such as those behind "Where is"; None if it is not known how it asks."""
    text = plain(question)
    quoted = QUOTED.findall(text)
    if len(quoted) == 1:
        return str(quoted[0]).strip()
    sentences = (ASKED.match(sentence) for sentence in SENTENCE.split(text))
    match = AFTER_COLON.search(text) or next((one for one in sentences if one), None)
    words = TAIL.sub("", match[1]).strip(" .?!:,;") if match else ""
    return None if not words or GENERAL.fullmatch(words) else words
