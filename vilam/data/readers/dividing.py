"""The splits of a data set: the official ones whatever their names, or a division by hash that keeps copies together.

A set without a test split gives its val as test, and a tenth of train becomes val; a set of train alone, or one that
nobody has divided, is divided 8 : 1 : 1. The hash is of a picture's group: the pictures of one group, such as augmented
copies, frames of one film or slices of one patient, are in one split.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from vilam.data.readers.source import ALL, PARTS, TRAIN_AND_VAL, group_of
from vilam.draws import bucket, number

NAMES = {
    "train": ("train", "training", "trn", "tr", "trainset", "train_set"),
    "val": ("val", "valid", "validation", "dev", "valset", "validset"),
    "test": ("test", "testing", "tst", "testset", "ts"),
}
"""Names that tools and authors give to the three splits, in lower case; any other name is kept."""
USUAL = tuple(NAMES)
SIBLING = re.compile(r"^(.*)\.rf\.[0-9a-zA-Z]+$")
"""Roboflow's names of augmented copies: the name of the picture comes first."""
FRAME = re.compile(r"^(.+?)[-_ .]*(?:frame|slice|img|image)[-_ ]?\d+$", re.IGNORECASE)
"""Names of the frames of a film and the slices of a scan: its name comes first."""
PLAIN_FRAME = re.compile(r"^(?:frame|slice)[-_ ]?\d+$", re.IGNORECASE)
"""Names of frames and slices that do not name their film or scan, which is the folder then."""
OWNER = r"(?:video|vid|film|clip|sequence|seq|patient|subject|sub|case|scan|series|volume|vol)[-_ ]?\d+"
"""Numbered films, scans and patients."""
OF_OWNER = re.compile(rf"^((?:.*[^a-z])?{OWNER})[-_ .]+\d+$", re.IGNORECASE)
"""Numbered pictures of one of these."""
OWNER_FOLDER = re.compile(rf"^((?:.*?/)??{OWNER})(?:/|$)", re.IGNORECASE)
"""The first folder of one of these, in a path of folders."""


def split_name(name: str) -> str:
    """The name of a split: train, val or test for all their usual names, else the same with letters, digits and _."""
    own = name.strip().lower().replace("-", "_")
    for split, names in NAMES.items():
        if own in names:
            return split
    return re.sub(r"\W+", "_", name.strip())


def usual(word: str) -> str | None:
    """train, val or test, if a word is one of their names, perhaps with a year (``val2017``); else None."""
    split = split_name(re.sub(r"_?\d+$", "", word))
    return split if split in USUAL else None


def split_of_folders(path: str) -> str:
    """The split that a folder of a path under the root names, such as ``val`` in images/val/a.jpg; else `ALL`."""
    return next(filter(None, map(usual, path.split("/")[:-1])), ALL)


def group(name: str, together: str | None = None) -> str:
    """The group of a picture, by its path under the root without suffix; ``together``: a pattern of a recipe."""
    if together is not None:
        return group_of(name, together)
    folder, _, own = name.rpartition("/")
    if found := OWNER_FOLDER.match(folder):
        return found[1]
    if found := SIBLING.match(own) or FRAME.match(own) or OF_OWNER.match(own):
        return f"{folder}/{found[1]}"
    return folder if folder and PLAIN_FRAME.match(own) else name


def divided(splits: Sequence[str], names: Sequence[str], together: str | None = None) -> list[str]:
    """The split of each picture, from its official split (`ALL` if nobody has divided the set) and its name.

    The official splits are names as `split_name` gives them; beside val and test, pictures that nobody has divided are
    train. A picture keeps its split if others are added, unless the set is so small that the hash leaves a split empty.
    """
    official = set(splits)
    held_out = official - {"train", ALL}
    if not held_out:
        return _by_hash(names, ALL, together)
    if held_out == {"val"} and official != {"val"}:
        return _with_parts(splits, names, {"val": "test"}, together)
    if "val" not in official and official & {"train", ALL} and held_out == {"test"}:
        return _with_parts(splits, names, {}, together)
    return ["train" if split == ALL else split for split in splits]


def of_recipe(pictures: Sequence[tuple[str, str]], together: str | None = None) -> list[str]:
    """The split of each picture, from that of its recipe: `ALL` and `TRAIN_AND_VAL` are divided, others are kept."""
    splits = [split for split, _ in pictures]
    for parts in PARTS:
        own = [index for index, (split, _) in enumerate(pictures) if split == parts]
        for index, split in zip(own, _by_hash([pictures[index][1] for index in own], parts, together), strict=True):
            splits[index] = split
    return splits


def _with_parts(
    splits: Sequence[str], names: Sequence[str], renamed: dict[str, str], together: str | None
) -> list[str]:
    """The splits, renamed, with a tenth of train as val."""
    own = [name for split, name in zip(splits, names, strict=True) if split in ("train", ALL)]
    parts = iter(_by_hash(own, TRAIN_AND_VAL, together))
    return [next(parts) if split in ("train", ALL) else renamed.get(split, split) for split in splits]


def _by_hash(names: Sequence[str], parts: str, together: str | None) -> list[str]:
    groups = [group(name, together) for name in names]
    wanted = set(PARTS[parts])
    if together is None and _are_few(groups, len(wanted)):  # one film: its frames are all that there is
        groups = list(names)
    splits = [PARTS[parts][bucket(10, one)] for one in groups]
    if {*splits} >= wanted:
        return splits
    filled = dict(zip(groups, splits, strict=True))
    _fill(filled, sorted(wanted - {"train"}))
    return [filled[one] for one in groups]


def _are_few(groups: Sequence[str], count: int) -> bool:
    """Whether there are fewer than ``count`` different groups."""
    seen: set[str] = set()
    for one in groups:
        seen.add(one)
        if len(seen) >= count:
            return False
    return True


def _fill(splits: dict[str, str], held_out: Sequence[str]) -> None:
    """Give each empty split one group of the fullest split, the one with the smallest hash; train keeps one."""
    for split in [*held_out, "train"]:
        counts = Counter(splits.values())
        fullest, most = max(counts.items(), key=lambda pair: pair[1], default=("", 0))
        if counts[split] == 0 and most > 1:
            splits[min((one for one, own in splits.items() if own == fullest), key=number)] = split
