"""Settings files: read as YAML 1.2, as by DVC, and checked; a mistake gives an error of one line."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from io import StringIO
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from vilam.config.schema import PHASES, Section, Settings, SharedOptimiserSettings
from vilam.errors import VilamError, one_line

RENAMED = {
    "model.start": "model.fine_tune_from",
    "synthesize.described_share": "synthesize.described_fraction",
    "synthesize.max_words": "synthesize.max_tokens",
    "train.cycle.max_words": "train.cycle.max_tokens",
    "train.cycle.share": "train.cycle.image_fraction",
    "train.cycle.retell": "train.cycle.self_training",
    "evaluate.step_1": "evaluate.include_activate",
    "evaluate.split": "evaluate.splits",
}
"""Settings that had another name before."""

Block = TypeVar("Block", bound=Section)


def load_settings(path: Path) -> Settings:
    """Read and check params.yaml; raises VilamError naming the setting, what is wrong and what is expected."""
    return check_settings(read_yaml(path), path)


def check_settings(content: object, source: Path | str) -> Settings:
    """Check settings that were read from ``source``; raises VilamError as `load_settings` does."""
    return checked(Settings, content, source)


def complete(content: Mapping[str, Any], source: Path | str) -> dict[str, Any]:
    """The content of a params.yaml with all defaults; raises VilamError as `load_settings` does.

    Of the settings that `optimiser` has too, `activate` and `train` have only those that they set themselves, so that a
    change of `optimiser` still affects them.
    """
    whole = check_settings(content, source).model_dump(mode="json", by_alias=True)
    for phase in PHASES:
        inherited = SharedOptimiserSettings.model_fields.keys() - content.get(phase, {}).keys()
        whole[phase] = {name: value for name, value in whole[phase].items() if name not in inherited}
    return whole


def read_yaml(path: Path) -> Any:
    """The content of a YAML file; raises VilamError if it is missing, not readable or names a key twice."""
    try:
        return parse_yaml(path.read_text(encoding="utf-8"), path)
    except FileNotFoundError:
        raise VilamError(
            f"{path}: not found: run vilam in the project's folder, or make one: vilam init FOLDER"
        ) from None
    except (OSError, UnicodeError) as error:
        raise VilamError(f"{path}: not readable: {error}") from None


def parse_yaml(text: str, source: Path | str) -> Any:
    """The content of a text in YAML 1.2, where `no`, `off` and 12:30 are texts; raises VilamError if it is not YAML."""
    try:
        return YAML(typ="safe", pure=True).load(text)
    except MarkedYAMLError as error:
        line = f" in line {error.problem_mark.line + 1}" if error.problem_mark else ""
        twice = re.match(r'found duplicate key "(.*?)" with', error.problem or "")
        problem = f"{twice[1]} appears twice" if twice else error.problem
        raise VilamError(f"{source}: not readable as YAML: {problem}{line}") from None
    except (YAMLError, ValueError) as error:
        raise VilamError(f"{source}: not readable as YAML: {one_line(error)}") from None


def yaml_text(content: Any) -> str:
    """Plain content as YAML 1.2; `read_yaml` and DVC read the same values back."""
    yaml, text = YAML(typ="safe", pure=True), StringIO()
    yaml.default_flow_style = False
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    yaml.dump(content, text)
    return text.getvalue()


def checked(model: type[Block], content: object, source: Path | str) -> Block:
    """The content as a section; raises VilamError of one line that names the source, the setting and what is wrong."""
    try:
        return model.model_validate(content)
    except ValidationError as error:
        raise VilamError("; ".join(_message(source, problem, content) for problem in error.errors())) from None


def _message(source: Path | str, problem: Mapping[str, Any], content: object) -> str:
    name = ".".join(_as_written(problem, content))
    if problem["type"] == "extra_forbidden":
        return unknown(source, name)
    message = str(problem["msg"]).removeprefix("Value error, ")
    found = "" if isinstance(problem["input"], dict) else f" (found {problem['input']!r})"
    return f"{source}: {name}: {message}{found}" if name else f"{source}: {message}"


def _as_written(problem: Mapping[str, Any], content: Any) -> Iterator[str]:
    """The keys that lead to a setting in a file, without the tags that pydantic puts between them."""
    *above, last = problem["loc"] or ("",)
    for part in above:
        if isinstance(part, int) or (isinstance(content, Mapping) and part in content):
            yield str(part)
            content = content[part]
    if problem["type"] == "missing" or isinstance(last, int) or (isinstance(content, Mapping) and last in content):
        yield str(last)


def unknown(source: Path | str, name: str) -> str:
    """The message for a setting that does not exist."""
    if name in RENAMED:
        return f"{source}: {name}: renamed to {RENAMED[name]}"
    return f"{source}: {name}: no such setting: check its spelling"
