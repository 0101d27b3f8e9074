"""What a run was made from: the git commit and the DVC hashes of its data."""

from __future__ import annotations

import subprocess
from pathlib import Path

import yaml

VERSIONED = ("data/records", "data/instructions")
"""The folders whose DVC hashes are the data version of a run."""
ORIGIN_TAGS = ("git_commit", "data_version.")
"""Prefixes of the tags that `origin_tags` makes."""


def origin_tags(root: Path) -> dict[str, str]:
    """The git commit and the data version of a project, as tags of a run."""
    versions = {f"data_version.{Path(path).name}": md5 for path, md5 in data_version(root).items()}
    return {"git_commit": git_commit(root), **versions}


def data_version(root: Path) -> dict[str, str]:
    """The DVC hashes of the data in ``dvc.lock`` by folder; empty where there is none yet."""
    try:
        content = yaml.safe_load((root / "dvc.lock").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    outs = [out for stage in content["stages"].values() for out in stage.get("outs", [])]
    return {out["path"]: str(out["md5"]) for out in outs if out["path"] in VERSIONED and "md5" in out}


def git_commit(root: Path) -> str:
    """The commit of the project folder, with ``-dirty`` where code or settings differ; "unknown" outside of git."""
    if not (commit := _git(root, "rev-parse", "HEAD")):
        return "unknown"
    changed = _git(root, "status", "--porcelain", "--untracked-files=no", "--", ".", ":!dvc.lock", ":!metrics")
    return f"{commit}-dirty" if changed else commit


def _git(root: Path, *words: str) -> str:
    try:
        done = subprocess.run(["git", *words], cwd=root, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return ""
    return done.stdout.strip()
