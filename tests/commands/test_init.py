"""`vilam init`: a project under git and DVC with the stages of this one, and nothing that is there is overwritten."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from vilam.cli import STAGES
from vilam.commands.init import init
from vilam.config import load_settings, read_yaml
from vilam.errors import VilamError


def run(folder: Path, *words: str) -> str:
    return subprocess.run(words, cwd=folder, capture_output=True, text=True, check=True).stdout


def dvc(folder: Path, *words: str) -> str:
    return run(folder, sys.executable, "-m", "dvc", *words)


@pytest.fixture(autouse=True)
def identity(monkeypatch: pytest.MonkeyPatch) -> None:
    """Git's configuration of this machine plays no part."""
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    for name in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{name}_NAME", "nobody")
        monkeypatch.setenv(f"GIT_{name}_EMAIL", "nobody@example.org")


def test_a_project_is_a_repository_whose_stages_dvc_reads(tmp_path: Path) -> None:
    folder = tmp_path / "my project"
    assert "first commit" in init(folder)
    assert run(folder, "git", "status", "--porcelain") == ""
    assert {"params.yaml", "flows/pipeline.py", ".dvc/config", ".dvc/plots/bars.json"} <= {
        *run(folder, "git", "ls-files").splitlines()
    }
    assert dvc(folder, "stage", "list", "--name-only").split() == list(STAGES)
    assert "changed" in dvc(folder, "status")
    load_settings(folder / "params.yaml")


def test_a_stage_depends_on_the_version_of_the_package_in_place_of_its_code(tmp_path: Path, project: Path) -> None:
    init(tmp_path / "own")
    own, ours = (read_yaml(folder / "dvc.yaml")["stages"] for folder in (tmp_path / "own", project))
    assert list(own) == list(ours)
    for name, stage in ours.items():
        kept = [dep for dep in stage["deps"] if not dep.startswith("vilam/")]
        assert own[name] == {**stage, "deps": ["requirements.txt", *kept]}
    assert (tmp_path / "own" / "requirements.txt").read_text().startswith("vilam==")


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text("mine")
    with pytest.raises(VilamError, match=r"has params\.yaml, which vilam init would overwrite"):
        init(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["params.yaml"]
    assert (tmp_path / "params.yaml").read_text() == "mine"


def test_a_folder_with_other_files_becomes_a_project_that_does_not_track_them(tmp_path: Path) -> None:
    (tmp_path / "scan.png").write_bytes(b"0")
    init(tmp_path)
    assert run(tmp_path, "git", "status", "--porcelain").split() == ["??", "scan.png"]


def test_a_repository_around_the_project_gets_no_commit(tmp_path: Path) -> None:
    run(tmp_path, "git", "init", "--quiet")
    assert "commit the new files" in init(tmp_path / "inside")
    assert not (tmp_path / "inside" / ".git").exists()
    assert dvc(tmp_path / "inside", "stage", "list", "--name-only").split() == list(STAGES)


def test_without_a_name_for_git_the_message_says_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL", "GIT_COMMITTER_NAME", "GIT_COMMITTER_EMAIL", "EMAIL"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", "user.useConfigOnly")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", "true")
    assert "`git commit` failed" in init(tmp_path / "own")


def test_without_git_dvc_works_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "without git" in init(tmp_path / "own")
    assert dvc(tmp_path / "own", "stage", "list", "--name-only").split() == list(STAGES)
