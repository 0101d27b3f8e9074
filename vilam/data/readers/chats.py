"""The rows of trainers of chats: who says what, and about which images.

``messages`` or ``conversations``: a list of ``{"role": "user", "content": text}`` (OpenAI, Qwen), where the content may
be a list of parts, of ``{"from": "human", "value": text}`` (LLaVA, ShareGPT), or of ``{"human": .., "assistant": ..}``;
or ``query``, ``response`` and ``history`` (ms-swift). Images are in ``images`` or ``image``, are parts of a content, or
are named in the text (``<img>a.jpg</img>``).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from vilam.data.readers.row_files import Row

LISTS = ("messages", "conversations", "conversation")
ROLES = {"user": "user", "human": "user", "assistant": "assistant", "gpt": "assistant", "bot": "assistant"}
QUERIES = ("query", "prompt", "input", "instruction", "question", "problem")
RESPONSES = ("response", "answer", "output", "completion", "target")
IMAGES = ("images", "image", "image_path", "img")
IN_TEXT = re.compile(r"<img>([^<]+)</img>")

Turn = tuple[str, str]
"""A role, user or assistant, and a text."""


def turns_of(row: Row) -> list[Turn]:
    """What is said, without what the system says; empty for a row that is no chat."""
    messages = next((row[key] for key in LISTS if isinstance(row.get(key), list)), None)
    if messages is not None:
        return [turn for message in messages for turn in _turns(message)]
    history = row.get("history")
    pairs = history if isinstance(history, list) else []
    turns = [
        (role, str(text))
        for pair in pairs
        if isinstance(pair, list)
        for role, text in zip(("user", "assistant"), pair, strict=False)
    ]
    asked, told = _first_text(row, QUERIES), _first_text(row, RESPONSES)
    return [*turns, ("user", asked), ("assistant", told)] if asked is not None and told is not None else []


def images_of(row: Row) -> list[str]:
    """The images of a chat in their order, each once."""
    own = next((row[key] for key in IMAGES if row.get(key)), None)
    if own is not None:
        names = [_path(one) for one in (own if isinstance(own, list) else [own])]
    else:
        listed: list[Any] = next((row[key] for key in LISTS if isinstance(row.get(key), list)), [])
        parts = [part for message in listed if isinstance(message, dict) for part in _parts(message)]
        names = [
            _path(next((part[key] for key in (*IMAGES, "image_url", "path", "url") if part.get(key)), None))
            for part in parts
            if str(part.get("type", "")).startswith("image")
        ]
        names = names or [name for _, text in turns_of(row) for name in IN_TEXT.findall(text)]
    return list(dict.fromkeys(name.removeprefix("file://") for name in names if name))


def _turns(message: object) -> Iterator[Turn]:
    if not isinstance(message, dict):
        return
    if "human" in message:
        yield "user", str(message["human"])
        yield "assistant", str(message.get("assistant", ""))
        return
    role = ROLES.get(str(message.get("role", message.get("from", ""))).lower())
    if role is not None:
        yield role, _text(message)


def _text(message: Row) -> str:
    content = message.get("content", message.get("value", ""))
    if isinstance(content, str):
        return content
    return "\n".join(str(part["text"]) for part in _parts(message) if part.get("text"))


def _parts(message: Row) -> list[dict[str, Any]]:
    content = message.get("content", message.get("value"))
    return [part for part in content if isinstance(part, dict)] if isinstance(content, list) else []


def _first_text(row: Row, keys: tuple[str, ...]) -> str | None:
    return next((row[key] for key in keys if isinstance(row.get(key), str)), None)


def _path(image: object) -> str:
    """The path of an image that is named directly, or in an object with a path."""
    if isinstance(image, dict):
        image = image.get("path") or image.get("url") or image.get("image")
    return image if isinstance(image, str) else ""
