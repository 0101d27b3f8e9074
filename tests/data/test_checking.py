"""The check of a whole data set: counts, all problems at once, images that splits share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from reading import recipe, write_image

from vilam.cli import app
from vilam.data.checking import check_dataset
from vilam.errors import VilamError

TABLE: dict[str, Any] = {
    "kind": "table",
    "files": {"train": "train.csv", "test": "test.csv"},
    "columns": {"image": "file", "box": ["a", "b", "c", "d"], "category": "what"},
    "images": "{image}",
}


def write(root: Path, train: str, test: str, **colours: int) -> Path:
    for name, rows in (("train", train), ("test", test)):
        (root / f"{name}.csv").write_text(f"file,a,b,c,d,what\n{rows}")
    for name, colour in colours.items():
        write_image(root / f"{name}.png", colour=colour)
    return root


def test_images_regions_and_categories_are_counted(tmp_path: Path) -> None:
    root = write(tmp_path, "a.png,1,2,3,4,cell\na.png,5,6,7,8,bead\n", "b.png,1,2,3,4,cell\n", a=1, b=2)
    findings = check_dataset(recipe(TABLE), root)
    assert {split: (own["images"], own["regions"]) for split, own in findings.counts.items()} == {
        "train": (1, 2),
        "test": (1, 1),
    }
    assert findings.categories == {"cell": 2, "bead": 1}
    assert not findings.problems and not findings.shared


def test_all_problems_are_reported(tmp_path: Path) -> None:
    rows = "a.png,1,2,3,4,cell\na.png,90,90,95,95,cell\na.png,3,3,3,9,cell\nnone.png,1,2,3,4,cell\na.png,x,2,3,4,cell\n"
    findings = check_dataset(recipe(TABLE), write(tmp_path, rows, "b.png,1,2,3,4,cell\n", a=1, b=2))
    lines = "\n".join(findings.problems)
    assert len(findings.problems) == 4
    for message in ("box outside the 40x30 image", "box of no area", "no file none.png", "not four numbers"):
        assert lines.count(message) == 1


@pytest.mark.parametrize(("first", "second", "leaks"), [("train", "test", 1), ("val", "test", 0)])
def test_an_image_in_two_splits_is_found_by_its_content(tmp_path: Path, first: str, second: str, leaks: int) -> None:
    reader = {**TABLE, "files": {first: "train.csv", second: "test.csv"}}
    root = write(tmp_path, "a.png,1,2,3,4,cell\n", "b.png,1,2,3,4,cell\nc.png,1,2,3,4,cell\n", a=5, b=5, c=6)
    findings = check_dataset(recipe(reader), root)
    assert findings.shared == [[f"{first}/a", f"{second}/b"]]
    assert len(findings.leaks) == leaks


def run(*words: str, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project)
    app(["datasets", *words], standalone_mode=False)


def test_the_command_lists_recipes(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run(project=project, monkeypatch=monkeypatch)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["name", "reader", "licence", "title"]
    assert any(line.startswith("bccd ") and "Blood cells" in line for line in lines)


def test_the_command_shows_a_recipe(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run("show", "bccd", project=project, monkeypatch=monkeypatch)
    assert "https://github.com/Shenggan/BCCD_Dataset" in capsys.readouterr().out


def test_the_command_checks_real_cells(
    project: Path, real_data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The two boxes of no area are the only problems."""
    with pytest.raises(VilamError, match=r"2 bad rows, .* 0 images of train in other splits"):
        run("check", "bccd", str(real_data / "bccd"), project=project, monkeypatch=monkeypatch)
    output = capsys.readouterr().out
    assert all(text in output for text in ("RBC        4153", "bad rows: 2", "BloodImage_00338.xml, object 13"))


def test_the_command_reports_a_missing_folder(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(VilamError, match=r"no such folder: set prepare\.root to the folder of bccd"):
        run("check", "bccd", str(tmp_path / "none"), project=project, monkeypatch=monkeypatch)
