"""Recipes: all of the project are valid, and an invalid one is reported in one line."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from reading import PROJECT, TEXTS, opened, write_image

from vilam.config import PrepareSettings
from vilam.data.readers import open_files, open_source
from vilam.data.recipes import read_recipe, recipe_files
from vilam.errors import VilamError


@pytest.mark.parametrize("name", recipe_files(PROJECT))
def test_every_recipe_of_the_project_is_valid(name: str) -> None:
    recipe = read_recipe(name, PROJECT)
    assert recipe.name == name
    assert not [part for part in TEXTS if not getattr(recipe, part).strip()]


def write(path: Path, **changes: object) -> Path:
    content = {**TEXTS, "reader": {"kind": "voc"}, **changes}
    path.write_text(yaml.safe_dump({name: value for name, value in content.items() if value is not None}))
    return path


def test_a_recipe_elsewhere_is_found_by_its_path(tmp_path: Path) -> None:
    assert read_recipe(str(write(tmp_path / "cells.yaml")), PROJECT).name == "cells"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"licence": None}, "licence: Field required"),
        ({"speed": 3}, "speed: no such setting"),
        ({"reader": {"kind": "ouija"}}, "reader: Input tag 'ouija'"),
        ({"reader": {"kind": "table"}}, "yaml: reader.files: Field required"),
        ({"reader": {"kind": "masks", "images": {"all": "*"}, "mask": "*"}}, "yaml: reader: set one of category"),
        ({"reader": {"kind": "masks", "images": "*", "mask": "*"}}, "yaml: reader.images: Input should be a valid"),
    ],
)
def test_an_invalid_recipe_is_one_line(tmp_path: Path, changes: dict[str, object], message: str) -> None:
    path = write(tmp_path / "cells.yaml", **changes)
    with pytest.raises(VilamError, match=message) as error:
        read_recipe(str(path), PROJECT)
    assert "\n" not in str(error.value) and str(path) in str(error.value)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("nothing", r"prepare\.source nothing: choose from adni, bccd, .*, or name a recipe file"),
        ("no.yaml", "no.yaml: not found"),
    ],
)
def test_an_unknown_source_is_one_line(source: str, message: str) -> None:
    with pytest.raises(VilamError, match=message):
        read_recipe(source, PROJECT)


def test_a_missing_folder_is_one_line(tmp_path: Path) -> None:
    settings = PrepareSettings.model_validate(
        {
            "source": "bccd",
            "root": tmp_path / "none",
            "max_invalid": 0,
            "shots": None,
            "unseen": None,
            "absent_categories": None,
            "domain": None,
            "shard_size": 1,
            "scenes": {"image_size": 32, "num_images": {"train": 1}},
        }
    )
    with pytest.raises(VilamError, match=r"no such folder: set prepare\.root to the folder of bccd"):
        open_source(settings, 0, PROJECT)


@pytest.mark.parametrize(("content", "licence"), [("\n MIT License\nof cells", "MIT License"), ("", "unknown")])
def test_an_unknown_licence_is_read_from_the_folder(tmp_path: Path, content: str, licence: str) -> None:
    write_image(tmp_path / "a.png")
    (tmp_path / "a.xml").write_text("<annotation/>")
    (tmp_path / "LICENSE").write_text(content)
    assert opened("voc", tmp_path).licences == (licence,)
    assert open_files(read_recipe("bccd", PROJECT), tmp_path).licences == ("MIT",)


def test_numbers_may_be_keys_of_names(tmp_path: Path) -> None:
    reader = {"kind": "masks", "images": {"all": "*"}, "mask": "*", "values": {1: "crack", "2": "pore"}}
    assert read_recipe(str(write(tmp_path / "welds.yaml", reader=reader)), PROJECT).reader.values == {  # type: ignore[union-attr]
        "1": "crack",
        "2": "pore",
    }
