"""The words of a picture, and the regions that they mean."""

from __future__ import annotations

from vilam.data.records import ImageRecord, Region

CLASS = "class"
"""The kind of groups that `prepare` makes from categories."""


def words_of(record: ImageRecord) -> list[tuple[str, tuple[Region, ...]]]:
    """Each expression once, with all regions that have it, and those that mean several regions or none.

    Groups that are made from categories are left out: who reads the categories makes them again.
    """
    found: dict[str, list[Region]] = {}
    for region in record.regions:
        for one in region.expressions:
            found.setdefault(one.text, []).append(region)
    said = [(text, tuple(own)) for text, own in found.items()]
    return said + [(one.text, record.members(one)) for one in record.groups if one.kind != CLASS]
