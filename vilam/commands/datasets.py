"""``vilam datasets``: the known recipes, and the check of a data set in a folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from vilam.config import Settings, load_settings
from vilam.data.checking import COUNTED, Findings, check_dataset
from vilam.data.invalid import Invalid
from vilam.data.readers import AUTO, FORMATS, find_formats, find_recipe, open_recipe
from vilam.data.readers.formats import Format, Found
from vilam.data.readers.recognition import recipe_of
from vilam.data.recipes import UNKNOWN, read_recipe, recipe_files
from vilam.data.scenes import LICENCE
from vilam.errors import VilamError
from vilam.inference.limits import refuses_long
from vilam.layout import Layout, shipped

SHOWN = 20
"""Categories that are printed, at most; the most frequent ones."""
LISTED = 10
"""Images of several splits that are printed, at most."""
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
    print(f"reader   {recipe.reader.kind}\nrecipe   {recipe_files(root).get(name, name)}")


def check(source: str, path: Path, root: Path) -> None:
    """Read a whole data set and print what it is, what is in it, and what is wrong; raises VilamError if not ready.

    source: a recipe, a format, or `AUTO` to look at the files. root: the project's folder, whose settings hold.
    """
    found = find_formats(path) if source == AUTO else []
    recipe, folder = (recipe_of(*found[0]), found[0][1].root) if found else find_recipe(source, path, root)
    opened = open_recipe(recipe, folder)
    print(f"{recipe.title}, {_number(len(opened.splits), 'split')}, {_number(opened.num_images, 'picture')}")
    if found:
        print(_recognised(found))
    settings = _settings(root)
    findings = check_dataset(opened, settings, refuses_long(settings.model, root))
    print("\n" + _report(findings))
    if not findings.is_ready:
        first = next(note.text for note in findings.notes if note.blocks)
        raise VilamError(f"{path}: not ready to train: {first}")
    print("\nready to train")


def _settings(root: Path) -> Settings:
    """Those of the project, or the defaults outside of one."""
    params = Layout(root).params
    return load_settings(params if params.is_file() else Layout(shipped()).params)


def _recognised(found: Sequence[tuple[Format, Found]]) -> str:
    """The settings that read a folder or file, and what else it could be."""
    (best, first), *others = found
    lines = [f"set prepare.source: {best.name} (or auto), prepare.root: {first.root}"]
    lines += [
        f"could also be {one.title}: prepare.source: {each.name}, prepare.root: {one.root}" for each, one in others
    ]
    return "\n".join(lines)


def _number(count: int, name: str) -> str:
    return f"{count:,} {name}{'' if count == 1 else 's'}"


def _report(findings: Findings) -> str:
    counts = [(split, *(str(own[name]) for name in COUNTED)) for split, own in findings.counts.items()]
    common = findings.categories.most_common(SHOWN)
    more = len(findings.categories) - len(common)
    near = [f"{first} ~ {second}" for first, second in findings.near]
    parts = [
        _table(("split", *COUNTED), counts),
        _table(("category", "regions"), [(name, str(count)) for name, count in common])
        + (f"\nand {more} more categories" if more else ""),
        *_listed("images that splits share", [" = ".join(images) for images in findings.shared]),
        *_listed("images that show the same in two splits", near),
        *_bad_rows(findings.invalid),
        *_listed("to look at", [note.text for note in findings.notes]),
    ]
    return "\n\n".join(parts)


def _bad_rows(invalid: Invalid) -> list[str]:
    """How many rows are bad in each way, and the first lines of each."""
    if not invalid.kinds:
        return []
    kinds = invalid.kinds.most_common()
    table = _table(("bad rows", "number"), [(kind, str(count)) for kind, count in kinds])
    return [table, *(_lines(kind, invalid.lines[kind], count) for kind, count in kinds)]


def _listed(title: str, lines: Sequence[str]) -> list[str]:
    return [_lines(title, lines[:LISTED], len(lines))] if lines else []


def _lines(title: str, lines: Sequence[str], count: int) -> str:
    more = [f"  and {count - len(lines)} more"] if count > len(lines) else []
    return "\n".join([f"{title}: {count}", *(f"  {line}" for line in lines), *more])


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """The rows as text with aligned columns."""
    lines = [tuple(header), *(tuple(row) for row in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(header))]
    return "\n".join(
        "  ".join(word.ljust(width) for word, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )
