"""What is kept on disk is what a list and a dict hold."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vilam.data.readers import kept
from vilam.data.readers.kept import KeptDict, KeptList, KeptSet

_VALUES = st.lists(st.tuples(st.text(max_size=3), st.floats(allow_nan=False) | st.binary(max_size=9)), max_size=20)


@given(_VALUES, _VALUES)
def test_a_list_may_grow_after_it_was_read(first: list[tuple[str, object]], more: list[tuple[str, object]]) -> None:
    found = KeptList(first)
    assert list(found) == first and len(found) == len(first)
    for value in more:
        found.append(value)
    assert [found[number] for number in range(len(found))] == [*first, *more]
    with pytest.raises(IndexError):
        found[len(found)]


@given(st.lists(st.tuples(st.text(max_size=2), st.integers()), max_size=60))
def test_values_of_a_dict_may_be_changed(rows: list[tuple[str, int]]) -> None:
    expected: dict[str, list[int]] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kept, "IN_MEMORY", 2)
        found = KeptDict[list[int]]()
        for key, number in rows:
            expected.setdefault(key, []).append(number)
            found.setdefault(key, list).append(number)
    assert list(found) == list(expected.values()) and len(found) == len(expected)
    with pytest.raises(IndexError):
        found[len(expected)]


@given(st.lists(st.text(max_size=2)))
def test_a_set_tells_what_is_new(names: list[str]) -> None:
    found = KeptSet()
    assert [found.add(name) for name in names] == [name not in names[:number] for number, name in enumerate(names)]


def test_what_is_too_deep_is_told() -> None:
    value: list[object] = []
    for _ in range(100_000):
        value = [value]
    with pytest.raises(ValueError, match="too deep"):
        KeptList([value])
    while value:  # a list in lists is taken apart as deep as it is
        value = value.pop()  # type: ignore[assignment]
