"""Checkpoints: complete ones are loaded, damaged ones are skipped."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from vilam.errors import VilamError
from vilam.training.checkpoint import (
    KEPT,
    Checkpoints,
    damage,
    random_state,
    restore_random_state,
    run_key,
    write_manifest,
)


class FakeEngine:
    """Saves and loads like DeepSpeed's engine, but in one file."""

    def __init__(self) -> None:
        self.loaded: str | None = None
        self.full = False

    def save_checkpoint(self, folder: str, tag: str, client_state: dict[str, Any], save_latest: bool) -> None:
        """Writes one file if there is space."""
        if self.full:
            raise OSError(28, "No space left on device")
        path = Path(folder) / tag
        path.mkdir(parents=True, exist_ok=True)
        torch.save(client_state, path / "state.pt")

    def load_checkpoint(self, folder: str, tag: str) -> tuple[str, dict[str, Any]]:
        """Reads the file."""
        self.loaded = tag
        return tag, torch.load(Path(folder) / tag / "state.pt", weights_only=False)


@pytest.fixture
def checkpoints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Checkpoints:
    monkeypatch.setattr(torch.distributed, "barrier", lambda: None)
    return Checkpoints(tmp_path / "checkpoints")


def save(checkpoints: Checkpoints, *steps: int) -> FakeEngine:
    engine = FakeEngine()
    for step in steps:
        checkpoints.save(engine, step, {"history": [step]})
    return engine


def cut(folder: Path) -> None:
    file = folder / "state.pt"
    file.write_bytes(file.read_bytes()[:-1])


def flip(folder: Path) -> None:
    file = folder / "state.pt"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "state.pt is damaged": cut,
    "state.pt is missing": lambda folder: (folder / "state.pt").unlink(),
    "not finished": lambda folder: (folder / "manifest.json").unlink(),
    "manifest.json is damaged": lambda folder: (folder / "manifest.json").write_text('{"state.pt": ['),
}


def test_the_newest_checkpoint_is_loaded_and_the_oldest_are_removed(checkpoints):
    engine = save(checkpoints, 5, 10, 15, 20)
    kept = sorted(folder.name for folder in checkpoints.folder.glob("step-*"))
    assert len(kept) == KEPT and kept[-1] == "step-000020"
    state = checkpoints.load(engine)
    assert engine.loaded == "step-000020" and state is not None and state["step"] == 20 and state["history"] == [20]


@pytest.mark.parametrize("problem", DAMAGES)
def test_a_damaged_checkpoint_is_skipped_and_reported(checkpoints, problem, capsys):
    engine = save(checkpoints, 5, 10)
    DAMAGES[problem](checkpoints.folder / "step-000010")
    state = checkpoints.load(engine)
    assert engine.loaded == "step-000005" and state is not None and state["step"] == 5
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1 and "step-000010" in said[0] and problem in said[0]


def test_a_flipped_bit_is_damage(checkpoints):
    save(checkpoints, 5)
    assert damage(checkpoints.folder / "step-000005") is None
    flip(checkpoints.folder / "step-000005")
    assert damage(checkpoints.folder / "step-000005") == "state.pt is damaged"


def test_nothing_is_loaded_without_a_complete_checkpoint(checkpoints):
    engine = FakeEngine()
    assert checkpoints.load(engine) is None
    save(checkpoints, 5)
    cut(checkpoints.folder / "step-000005")
    assert checkpoints.load(engine) is None and engine.loaded is None


@pytest.mark.parametrize("content", ["[]", '{"state.pt": 7}', "null"])
def test_a_manifest_of_another_kind_is_damage(tmp_path, content):
    (tmp_path / "state.pt").write_bytes(b"x")
    (tmp_path / "manifest.json").write_text(content)
    assert damage(tmp_path)


def test_a_full_disk_is_reported_and_the_previous_checkpoint_stays(checkpoints):
    engine = save(checkpoints, 5)
    engine.full = True
    with pytest.raises(VilamError, match="No space left on device") as caught:
        checkpoints.save(engine, 10, {})
    assert "\n" not in str(caught.value)
    state = checkpoints.load(engine)
    assert state is not None and state["step"] == 5


def test_random_numbers_continue_from_a_restored_state():
    def numbers() -> tuple[float, float, float]:
        return random.random(), float(np.random.rand()), float(torch.rand(1))

    state = random_state()
    first = numbers()
    assert numbers() != first
    restore_random_state(state)
    assert numbers() == first


def test_loading_restores_the_random_state(checkpoints):
    torch.manual_seed(3)
    engine = save(checkpoints, 5)
    expected = torch.rand(3)
    torch.manual_seed(4)
    checkpoints.load(engine)
    assert torch.equal(torch.rand(3), expected)


def test_the_run_key_depends_on_the_settings():
    first = run_key("train", 1, {"steps": 5, "lr": 0.1})
    assert first == run_key("train", 1, {"lr": 0.1, "steps": 5})
    assert first != run_key("train", 1, {"steps": 6, "lr": 0.1})
    assert first.isalnum()


def test_the_manifest_lists_every_file(tmp_path):
    (tmp_path / "a").write_bytes(b"12")
    (tmp_path / "b").write_bytes(b"")
    write_manifest(tmp_path)
    assert {name: size for name, (size, _) in json.loads((tmp_path / "manifest.json").read_text()).items()} == {
        "a": 2,
        "b": 0,
    }
    assert damage(tmp_path) is None


def test_runs_at_the_same_time_have_a_folder_each(checkpoints, tmp_path):
    second, third = Checkpoints(tmp_path / "checkpoints"), Checkpoints(tmp_path / "checkpoints")
    assert [each.folder.name for each in (checkpoints, second, third)] == [
        "checkpoints",
        "checkpoints-2",
        "checkpoints-3",
    ]


def test_a_stopped_run_is_gone_on_with_and_a_finished_one_is_gone(checkpoints, tmp_path):
    second = Checkpoints(tmp_path / "checkpoints")
    save(second, 5)
    checkpoints.remove()
    del second  # as if its process were killed
    resumed = Checkpoints(tmp_path / "checkpoints")
    assert resumed.folder.name == "checkpoints-2" and (resumed.load(FakeEngine()) or {})["step"] == 5
    resumed.remove()
    assert not list(tmp_path.iterdir())


def test_processes_that_do_not_come_first_use_the_folder_of_the_first(checkpoints, tmp_path, monkeypatch):
    save(checkpoints, 5)
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    other = Checkpoints(tmp_path / "other")
    monkeypatch.setattr(
        torch.distributed, "broadcast_object_list", lambda found: found.__setitem__(0, checkpoints.folder)
    )
    assert (other.load(FakeEngine()) or {})["step"] == 5 and not (tmp_path / "other").exists()
