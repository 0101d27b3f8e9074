"""Writes docs/settings.md: every setting with its default and its description.

    python scripts/settings_table.py

The page is made from the schema (vilam/config/schema.py); a test compares the two.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vilam.config import LoraSettings, Settings
from vilam.config.names import Setting, all_settings, fields, located, section_of

LORA = "model.language.lora"
"""The only setting that is null or a section."""
BOUNDS = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
KINDS = {"object": "mapping", "array": "list", "string": "text"}
PAGE = Path(__file__).parents[1] / "docs" / "settings.md"
HEAD = """# All settings

`params.yaml` names the settings that matter most. Every other one has its default here and may be added to the file, in
its section. Settings are checked before anything runs. `python scripts/settings_table.py` makes this page.

## Change a setting

By hand in `params.yaml`, then `dvc repro`; or for one run in a copy of the project ([experiments.md](experiments.md)):

```
dvc exp run --temp -S train.steps=500                   # a setting that params.yaml names
dvc exp run --temp -S ++train.threads=1                 # any setting, whether it names it or not
dvc exp run --temp -S +train.tasks.presence=1           # one more entry of a mapping
dvc exp run --temp -S train.tasks=null -S 'train.tasks={rec_box: 3, reg_class: 2}'   # a mapping as a whole
python -m flows.pipeline train.threads=1 'train.tasks={rec_box: 3, reg_class: 2}'
```

Without `--temp`, DVC writes the change into `params.yaml`, blanks every `null` there, and leaves both, also if the run
fails; `git restore params.yaml` takes it back. The flow always runs in a copy.

A section is merged: the settings that you name change, the others stay. A mapping that is one setting is replaced as a
whole in a preset of `vilam use`, in the arguments of `python -m flows.pipeline` and in Prefect's form:
`prepare.scenes.num_images`, `model.vision.config`, `model.language.config`, `model.language.lora`, `train.tasks`,
`register.guards`. DVC alone merges a mapping of `-S` into the one that `params.yaml` names: set it to `null` first, as
above. `-S` does not know the defaults either: `+train.tasks.presence=1` adds to the tasks that `params.yaml` names.

`activate` and `train` take over each setting of `optimiser` that they do not set themselves.
"""


def page() -> str:
    """The text of docs/settings.md."""
    sections: dict[str, list[Setting]] = {}
    for setting in (*all_settings(), *all_settings(LoraSettings, f"{LORA}.")):
        sections.setdefault(setting.name.rpartition(".")[0], []).append(setting)
    order = sorted(sections, key=lambda name: [*fields(Settings)].index((name or "seed").partition(".")[0]))
    return HEAD + "".join(_section(name, sections[name]) for name in order)


def _section(name: str, settings: list[Setting]) -> str:
    section = LoraSettings if name == LORA else (section_of(located(name, PAGE)[0]) if name else None) or Settings
    schemas = section.model_json_schema()["properties"]
    rows = [
        f"| `{setting.name}` | {_values(schemas[setting.name.rpartition('.')[2]])} | `{setting.default}` "
        f"| {setting.description} |"
        for setting in settings
    ]
    head = ["| setting | values | default | what it does |", "|---|---|---|---|"]
    return "\n".join(
        ["", f"## {name or 'Everywhere'}", "", " ".join(str(section.__doc__).split()), "", *head, *rows, ""]
    )


def _values(schema: Mapping[str, Any]) -> str:
    """The values that a JSON schema accepts, in a few words: `integer ≥ 1 or null`."""
    if "anyOf" in schema:
        return " or ".join(map(_values, schema["anyOf"]))
    if "enum" in schema or "const" in schema:
        return ", ".join(map(str, schema.get("enum", [schema.get("const")])))
    bounds = ", ".join(f"{sign} {schema[key]:g}" for key, sign in BOUNDS.items() if key in schema)
    kind = KINDS.get(schema.get("type", "object"), schema.get("type"))
    inner = schema.get("items") or schema.get("additionalProperties")
    return f"{kind} of {_values(inner)}" if isinstance(inner, Mapping) else f"{kind} {bounds}".strip()


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(PAGE)
