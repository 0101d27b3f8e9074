"""Which images are one picture: answers on it share its difficulty, whatever it is called in each split."""

from __future__ import annotations

from collections.abc import Mapping


def same_pictures(hashes: Mapping[str, str]) -> dict[str, str]:
    """By image id the id of the first of the images with the same hash of their content."""
    first: dict[str, str] = {}
    return {image_id: first.setdefault(content, image_id) for image_id, content in hashes.items()}
