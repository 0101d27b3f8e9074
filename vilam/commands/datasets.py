"""``vilam datasets``: the known recipes, and the check of a data set in a folder."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from vilam.data.checking import COUNTED, Findings, check_dataset
from vilam.data.readers import AUTO, FORMATS, find_recipe
from vilam.data.readers.recognition import recognise
from vilam.data.recipes import UNKNOWN, read_recipe, recipe_files
from vilam.data.scenes import LICENCE
from vilam.errors import VilamError

SHOWN = 20
"""Categories that are printed, at most; the most frequent ones."""
HEADER = ("name", "reader", "licence", "title")
SCENES = ("scenes", "-", LICENCE, "Generated scenes of shapes: no files are needed")


def show_recipes(root: Path) -> None:
    """Print the recipes of a project, and the formats that need none: name, licence, title."""
    recipes = [read_recipe(name, root) for name in recipe_files(root)]
    known = {recipe.name for recipe in recipes}
    rows = [(recipe.name, recipe.reader.kind, recipe.licence, recipe.title) for recipe in recipes]
    formats = [(one.name, one.name, UNKNOWN, one.title) for one in FORMATS if one.name not in known]
    print(_table(HEADER, [SCENES, *rows, *formats]))
    print("\nvilam datasets show NAME: where its files come from; vilam datasets check FOLDER: read all of them")


def show_recipe(name: str, root: Path) -> None:
    """Print the facts of a recipe or a format."""
    own = next((one for one in FORMATS if one.name == name and name not in recipe_files(root)), None)
    if own is not None:
        for part in ("title", "layout", "keeps", "loses"):
            print(f"{part:9}{getattr(own, part)}")
        return
    recipe = read_recipe(name, root, [one.name for one in FORMATS])
    for part in ("title", "home", "licence", "layout", "splits", "leakage"):
        print(f"{part:9}{getattr(recipe, part)}")
    print(f"reader   {recipe.reader.kind}")


def check(source: str, path: Path, root: Path) -> None:
    """Read a whole data set and print its content and its problems; raises VilamError if there are problems.

    source: a recipe, a format, or `AUTO` to look at the files.
    """
    if source == AUTO:
        print(_recognised(path))
    recipe, folder = find_recipe(source, path, root)
    findings = check_dataset(recipe, folder)
    print(_report(findings))
    if findings.problems or findings.leaks:
        raise VilamError(
            f"{path}: {len(findings.problems)} bad rows, which prepare leaves out, up to prepare.max_invalid, and "
            f"{len(findings.leaks)} images of train in other splits, which it does not"
        )
    print("\nready to train")


def _recognised(path: Path) -> str:
    """What a folder or file is, what else it could be, and the settings that read it."""
    found = recognise(path, FORMATS)
    if not found:
        return f"{path}: no format that is known"
    (best, first), *others = found
    lines = [f"{first.title}: prepare.source={best.name} prepare.root={first.root} (or prepare.source=auto)"]
    lines += [f"could also be {one.title}: prepare.source={each.name}" for each, one in others]
    return "\n".join(lines)


def _report(findings: Findings) -> str:
    counts = [(split, *(str(own[name]) for name in COUNTED)) for split, own in findings.counts.items()]
    common = findings.categories.most_common(SHOWN)
    more = len(findings.categories) - len(common)
    parts = [
        _table(("split", *COUNTED), counts),
        _table(("category", "regions"), [(name, str(count)) for name, count in common])
        + (f"\nand {more} more categories" if more else ""),
        *_listed("images that splits share", (" = ".join(images) for images in findings.shared)),
        *_listed("bad rows", findings.problems),
    ]
    return "\n\n".join(parts)


def _listed(title: str, lines: Iterable[str]) -> list[str]:
    found = list(lines)
    return ["\n".join([f"{title}: {len(found)}", *(f"  {line}" for line in found)])] if found else []


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """The rows as text with aligned columns."""
    lines = [tuple(header), *(tuple(row) for row in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(header))]
    return "\n".join(
        "  ".join(word.ljust(width) for word, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )
