"""Pickles: plain data of any protocol is read, and no function in one is ever called."""

from __future__ import annotations

import os
import pickle
import subprocess
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vilam.data.readers.pickles import read_pickle
from vilam.errors import VilamError

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
DATA = st.recursive(SCALARS, lambda one: st.lists(one) | st.dictionaries(st.text(), one) | st.tuples(one, one))


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(DATA, st.integers(0, pickle.HIGHEST_PROTOCOL))
def test_plain_data_is_read(tmp_path: Path, data: Any, protocol: int) -> None:
    path = tmp_path / "data.p"
    path.write_bytes(pickle.dumps(data, protocol))
    assert read_pickle(path) == data


@pytest.mark.parametrize("data", [{1, 2}, frozenset({3}), OrderedDict(a=1)])
@pytest.mark.parametrize("protocol", range(6))
def test_other_containers_are_read(tmp_path: Path, data: Any, protocol: int) -> None:
    (tmp_path / "data.p").write_bytes(pickle.dumps(data, protocol))
    assert read_pickle(tmp_path / "data.p") == data


def test_strings_of_python_2_are_read(tmp_path: Path) -> None:
    """They are bytes in UTF-8."""
    (tmp_path / "data.p").write_bytes(b"(dp0\nS'sent'\np1\nS'the caf\\xc3\\xa9'\np2\ns.")
    assert read_pickle(tmp_path / "data.p") == {"sent": "the café"}


class _Calls:
    """Pickles as a call of a function."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.called = function, arguments

    def __reduce__(self) -> Any:
        return self.called


@pytest.mark.parametrize(
    ("function", "rest"),
    [(os.system, ()), (eval, ()), (subprocess.getoutput, ()), (os.mkdir, ()), (open, ("w",)), (getattr, ("x",))],
)
@pytest.mark.parametrize("protocol", range(6))
def test_no_function_in_it_is_called(
    tmp_path: Path, function: Callable[..., Any], rest: tuple[Any, ...], protocol: int
) -> None:
    trap = tmp_path / "trap"
    arguments = {os.system: f"touch {trap}", eval: f"__import__('os').mkdir({str(trap)!r})"}
    arguments |= {subprocess.getoutput: f"touch {trap}"}
    call = _Calls(function, arguments.get(function, str(trap)), *rest)
    (tmp_path / "bad.p").write_bytes(pickle.dumps([{"sentences": call}], protocol))
    with pytest.raises(VilamError, match="which is no plain data") as error:
        read_pickle(tmp_path / "bad.p")
    assert not trap.exists() and "\n" not in str(error.value)


@pytest.mark.parametrize("data", [np.float64(1.0), np.zeros(3), Path("x"), VilamError("x")])
def test_other_objects_are_refused(tmp_path: Path, data: Any) -> None:
    (tmp_path / "data.p").write_bytes(pickle.dumps(data))
    with pytest.raises(VilamError, match="which is no plain data"):
        read_pickle(tmp_path / "data.p")


@pytest.mark.parametrize("content", [b"", b"\x80", b"not a pickle", b"\x80\x04]", b"ctypes\nCDLL\n."])
def test_a_broken_pickle_is_one_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "data.p").write_bytes(content)
    with pytest.raises(VilamError, match="not read as a pickle of plain data"):
        read_pickle(tmp_path / "data.p")


def test_a_missing_pickle_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(VilamError, match="not found"):
        read_pickle(tmp_path / "data.p")


def test_a_length_in_a_pickle_asks_for_no_memory(tmp_path: Path) -> None:
    (tmp_path / "data.p").write_bytes(b"\x80\x04\x8d" + (2**40).to_bytes(8, "little") + b"abc.")
    with pytest.raises(VilamError, match="not read as a pickle"):
        read_pickle(tmp_path / "data.p")
