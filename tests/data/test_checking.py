"""The check of a whole data set: counts, all problems at once, images that splits share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from reading import opened, write_image

from vilam.cli import app
from vilam.config import Settings
from vilam.data.checking import Findings, check_dataset
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


def checked(reader: dict[str, Any], root: Path) -> Findings:
    return check_dataset(opened(reader, root), Settings())


def test_images_regions_and_categories_are_counted(tmp_path: Path) -> None:
    root = write(tmp_path, "a.png,1,2,3,4,cell\na.png,5,6,7,8,bead\n", "b.png,1,2,3,4,cell\n", a=1, b=2)
    findings = checked(TABLE, root)
    assert {split: (own["images"], own["regions"]) for split, own in findings.counts.items()} == {
        "train": (1, 2),
        "test": (1, 1),
    }
    assert findings.categories == {"cell": 2, "bead": 1}
    assert not findings.problems and not findings.shared


def test_all_problems_are_reported(tmp_path: Path) -> None:
    rows = "a.png,1,2,3,4,cell\na.png,90,90,95,95,cell\na.png,3,3,3,9,cell\nnone.png,1,2,3,4,cell\na.png,x,2,3,4,cell\n"
    findings = checked(TABLE, write(tmp_path, rows, "b.png,1,2,3,4,cell\n", a=1, b=2))
    lines = "\n".join(findings.problems)
    assert len(findings.problems) == 4
    for message in ("box outside the 40x30 image", "box of no area", "no file none.png", "not four numbers"):
        assert lines.count(message) == 1


@pytest.mark.parametrize(("first", "second", "leaks"), [("train", "test", 1), ("val", "test", 0)])
def test_an_image_in_two_splits_is_found_by_its_content(tmp_path: Path, first: str, second: str, leaks: int) -> None:
    reader = {**TABLE, "files": {first: "train.csv", second: "test.csv"}}
    root = write(tmp_path, "a.png,1,2,3,4,cell\n", "b.png,1,2,3,4,cell\nc.png,1,2,3,4,cell\n", a=5, b=5, c=6)
    findings = checked(reader, root)
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
    run("check", "bccd", str(real_data / "bccd"), project=project, monkeypatch=monkeypatch)
    output = capsys.readouterr().out
    assert all(text in output for text in ("RBC        4153", "box: 2", "BloodImage_00338.xml, object 13"))
    assert output.endswith("ready to train\n")


def test_the_command_reports_a_missing_folder(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(VilamError, match=r"no such folder: set prepare\.root to the folder of bccd"):
        run("check", "bccd", str(tmp_path / "none"), project=project, monkeypatch=monkeypatch)


def yolo(root: Path, **pictures: str) -> Path:
    """A YOLO set whose pictures, named ``split_number``, have these lines."""
    (root / "data.yaml").write_text(
        "names: [cell, bead]\n" + "".join(f"{s}: {s}/images\n" for s in ("train", "val", "test"))
    )
    for number, (name, lines) in enumerate(pictures.items()):
        folder = root / name.partition("_")[0]
        write_image(folder / "images" / f"{name}.png", colour=number)
        (folder / "labels").mkdir(exist_ok=True)
        (folder / "labels" / f"{name}.txt").write_text(lines)
    return root


def test_the_command_says_what_a_folder_is_and_that_it_is_ready(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    line = "0 0.5 0.5 0.2 0.2\n1 0.4 0.4 0.2 0.2\n"
    root = yolo(tmp_path, train_0=line, train_1=line + "0 0.5 0.5 0 0.1\n", val_0=line, test_0=line)
    run("check", str(root), project=project, monkeypatch=monkeypatch)
    output = capsys.readouterr().out
    assert output.startswith(
        "YOLO (Ultralytics), 3 splits, 4 pictures\nset prepare.source: yolo (or auto), prepare.root: "
    )
    assert "bad rows  number\nbox       1\n\nbox: 1\n  " in output
    assert output.endswith("\nready to train\n")


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ({"train_0": "0 0.5 0.5 0.2 0.2\n", "val_0": "", "test_0": ""}, "no object in test"),
        ({"train_0": "", "val_0": "0 0.5 0.5 0.2 0.2\n", "test_0": "0 0.5 0.5 0.2 0.2\n"}, "no object in train"),
        ({"train_0": "", "val_0": "", "test_0": ""}, "no picture has an object"),
        ({"train_0": "0 0.5 0.5 0 0\n", "val_0": "", "test_0": "0 0.5 0.5 0 0.2\n"}, "2 of 2 objects are bad"),
    ],
)
def test_the_command_says_what_to_do_if_a_set_is_not_ready(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lines: dict[str, str], message: str
) -> None:
    with pytest.raises(VilamError, match=f"not ready to train: .*{message}"):
        run("check", str(yolo(tmp_path, **lines)), project=project, monkeypatch=monkeypatch)
