"""``vilam plots``: draws the plots of dvc.yaml as one page that opens without a network, or as pictures.

DVC makes the Vega-Lite specifications. Its own page, `dvc plots show`, loads the scripts that draw them from a CDN.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import vl_convert
from jinja2 import Template
from PIL import Image

from vilam.commands.processes import output_of
from vilam.errors import VilamError
from vilam.evaluation.charts import library
from vilam.files import write_atomically
from vilam.layout import Layout

Spec = dict[str, Any]
"""A Vega-Lite specification with its data."""

SCALE = 1.5
"""Pixels of a picture for each pixel of a plot."""
COLOURS = 64
"""Colours of a picture."""
PAGE = Template("""<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<title>vilam: plots</title>
<style>
  body { font-family: sans-serif; margin: 1.5rem; }
  section { margin-bottom: 2rem; overflow-x: auto; }
</style>
{% for name in specs %}<section><div id="{{ name }}"></div></section>
{% endfor %}<script type="module">{{ library }}</script>
<script type="module">
const menu = {export: true, source: false, compiled: false, editor: false};
for (const [name, spec] of Object.entries({{ specs | tojson }})) {
  vegaEmbed(document.getElementById(name), spec, {renderer: "svg", actions: menu});
}
</script>
</html>
""")


def plots(root: Path, revisions: Sequence[str] = (), images: Path | None = None) -> None:
    """Draw the plots of the project, or of its revisions and experiments side by side, and print where they are.

    Writes dvc_plots/index.html, and a PNG of each plot if there is a folder ``images``. Raises VilamError if there is
    nothing to draw.
    """
    specs = specifications(root, revisions)
    page = Layout(root).plots_page
    write_atomically(page, PAGE.render(specs=specs, library=library()))
    print(f"{page}: {len(specs)} plots; open it in a browser")
    if images is not None:
        for name, spec in specs.items():
            write_atomically(images / f"{name}.png", picture(spec))
        print(f"{images}: a picture of each")


def picture(spec: Spec) -> bytes:
    """A plot as a PNG of few colours, a tenth of the size of one with all."""
    drawn = Image.open(BytesIO(vl_convert.vegalite_to_png(spec, scale=SCALE)))
    file = BytesIO()
    drawn.convert("RGB").quantize(COLOURS).save(file, "PNG", optimize=True)
    return file.getvalue()


def specifications(root: Path, revisions: Sequence[str] = ()) -> Mapping[str, Spec]:
    """The specification of each plot that has data, by the name of its table, as DVC makes it.

    One revision is compared with the working tree. Raises VilamError if DVC fails, or if no plot has data.
    """
    action = ["diff", *revisions] if revisions else ["show"]
    printed = output_of([sys.executable, "-m", "dvc", "plots", *action, "--json"], root, "plots: DVC: {}")
    drawn = json.loads(printed).get("data", {})
    specs = {Path(name).stem: of_plot[0]["content"] for name, of_plot in drawn.items() if of_plot}
    if not specs:
        raise VilamError(f"{root / 'metrics' / 'plots'}: no tables to draw: run `dvc repro` first")
    return specs
