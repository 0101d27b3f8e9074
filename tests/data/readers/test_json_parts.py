"""Parts of JSON files are what Python's own `json` reads, wherever the pieces of the file end."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vilam.data.readers import json_parts
from vilam.data.readers.json_parts import parts_of
from vilam.errors import VilamError

_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=12,
)


def _joined(path: Path) -> Any:
    """The content of a file, put together from its parts."""
    rows: dict[str, Any] = {}
    for part in parts_of(path):
        if part.is_row:
            assert repr(json.loads(part.text)) == repr(part.value)
            rows[part.name].append(part.value)
        else:
            rows[part.name] = part.value
    return rows


@pytest.mark.parametrize("piece", [1, 3, 1 << 18])
@settings(max_examples=40)
@given(content=st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=5), _VALUES, max_size=4))
def test_parts_are_the_content(piece: int, content: dict[str, Any]) -> None:
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_parts, "PIECE", piece)
        path = Path(folder, "a.json")
        for indent, encoding in ((None, "utf-8"), (2, "utf-8-sig"), (1, "utf-16"), (None, "utf-32-be")):
            path.write_text(json.dumps(content, indent=indent, ensure_ascii=indent == 2), encoding=encoding)
            assert _joined(path) == content


@settings(max_examples=40)
@given(st.lists(_VALUES, max_size=5))
def test_a_list_has_rows_without_a_name(content: list[Any]) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder, "a.json")
        path.write_text(json.dumps(content))
        assert _joined(path) == {"": content}


def test_numbers_that_json_in_python_knows(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text('{"a": [NaN, Infinity, 1e999, 12345678901234567890], "b": 7}')
    assert repr(_joined(path)) == repr(json.loads(path.read_text()))


@pytest.mark.parametrize(
    "text", ["", "{", '{"a": [1, 2', '{"a": [1 2]}', '{"a": 1} x', "{a: 1}", '{"a": 1,}', '{"a": "x', "[" * 100_000]
)
def test_a_broken_file_is_told(tmp_path: Path, text: str) -> None:
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(VilamError, match="not readable as JSON"):
        list(parts_of(path))


def test_rows_come_before_the_file_is_read_to_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_parts, "PIECE", 16)
    path = tmp_path / "a.json"
    path.write_text('{"a": [{"b": 1}, {"b": 2}' + " " * 100 + "broken")
    parts = parts_of(path)
    assert [next(parts).value for _ in range(3)] == [[], {"b": 1}, {"b": 2}]


def test_lists_too_deep_to_be_kept_are_one_line(tmp_path: Path) -> None:
    file = tmp_path / "deep.json"
    for depth in (99, 100):
        file.write_text(f'{{"rows": [{"[" * depth}{"]" * depth}], "name": "[[[[{"[" * 200}"}}')
        assert [part.name for part in parts_of(file)] == ["rows", "rows", "name"]
    file.write_text(f'{{"rows": [{"[" * 150}{"]" * 150}]}}')
    with pytest.raises(VilamError, match=r"deep\.json: .*lists in lists too deep"):
        list(parts_of(file))
