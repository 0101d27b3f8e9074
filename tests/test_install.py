"""`make setup` takes torch for the CPU or for CUDA, and a machine without PyTorch's index still gets one."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from scripts import install


@pytest.mark.parametrize(
    ("environ", "system", "driver", "reachable", "backend", "reason"),
    [
        ({}, "Linux", False, True, "cpu", "no NVIDIA driver was found: torch for the CPU"),
        ({}, "Linux", True, True, "auto", "an NVIDIA driver was found: torch for CUDA"),
        ({}, "Linux", False, False, None, "no NVIDIA driver was found, but download.pytorch.org did not answer"),
        ({}, "Linux", True, False, None, "an NVIDIA driver was found, but download.pytorch.org did not answer"),
        ({}, "Darwin", False, True, None, "torch has one build for Darwin"),
        ({"UV_TORCH_BACKEND": "cu128"}, "Linux", False, True, "cu128", "UV_TORCH_BACKEND is cu128"),
        ({"UV_TORCH_BACKEND": ""}, "Linux", False, True, "cpu", "no NVIDIA driver was found: torch for the CPU"),
    ],
)
def test_the_driver_decides_unless_someone_has(
    environ: dict[str, str], system: str, driver: bool, reachable: bool, backend: str | None, reason: str
) -> None:
    found = install.choose(environ, system, driver, lambda: reachable)
    assert found[0] == backend and reason in found[1]


def test_the_index_is_asked_only_if_it_matters() -> None:
    def never() -> bool:
        raise AssertionError("asked")

    install.choose({}, "Darwin", False, never)
    install.choose({"UV_TORCH_BACKEND": "cpu"}, "Linux", True, never)


@pytest.mark.parametrize("has_program", [True, False])
def test_the_driver_is_found_by_its_program(has_program: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if has_program:
        (tmp_path / "nvidia-smi").write_text("#!/bin/sh\n")
        (tmp_path / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(install, "DRIVER", tmp_path / "none")
    assert install.has_driver() is has_program


def test_the_driver_is_found_by_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(install, "DRIVER", tmp_path)
    assert install.has_driver()


@pytest.mark.parametrize("address", ["http://127.0.0.1:9/", "http://index.invalid/"])
def test_an_index_that_does_not_answer_is_unreachable(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(install, "INDEX", address)
    assert not install.is_reachable()


def test_an_index_that_is_silent_is_unreachable(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setattr(install, "INDEX", f"http://127.0.0.1:{silent.getsockname()[1]}/")
        monkeypatch.setattr(install, "PATIENCE", 0.1)
        assert not install.is_reachable()


def test_an_index_that_answers_is_reachable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(install, "INDEX", tmp_path.joinpath("simple").as_uri())
    assert not install.is_reachable()
    (tmp_path / "simple").touch()
    assert install.is_reachable()


@pytest.mark.parametrize(
    ("version", "cuda", "line"),
    [("2.13.0+cpu", None, "torch 2.13.0+cpu (CPU)"), ("2.13.0", "13.0", "torch 2.13.0 (CUDA 13.0)")],
)
def test_the_build_is_read_from_the_installed_torch(version: str, cuda: str | None, line: str, tmp_path: Path) -> None:
    file = tmp_path / "version.py"
    file.write_text(f"__version__ = {version!r}\ncuda = {cuda!r}\n")
    assert install.build(file) == line
