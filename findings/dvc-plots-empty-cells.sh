#!/usr/bin/env bash
# Expected: an empty cell of a CSV file has no point in a plot of `dvc plots`, as in pandas, MLflow or a spreadsheet.
# What happens: `linear` (the default), `simple` and `scatter` draw it at 0, without a warning.
# Seen on: DVC 3.67.1, dvc-render 1.0.2, vl-convert-python 1.9.0 (Vega 6.2).
# Matters if one file has a row for each step and what is measured now and then in further columns, which is how
# training is logged: a steady loss of 7 falls to 0 at every step at which something else was measured.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export DVC_NO_ANALYTICS=1 DVC_SITE_CACHE_DIR="$work/site" PATH="$work/venv/bin:$PATH"
python3 -m venv "$work/venv"
python -m pip install --quiet --no-compile --disable-pip-version-check dvc==3.67.1 dvc-render==1.0.2 \
  vl-convert-python==1.9.0.post1
mkdir "$work/project" && cd "$work/project"
git init --quiet && dvc init --quiet
printf 'step,loss,accuracy\n1,7.2,\n2,,0.1\n3,7.1,\n4,,0.2\n5,7.0,\n' > log.csv
cat log.csv
cat > read.py <<'PYTHON'
"""The lowest point of a line, in the units of its axis."""
import json, sys
import vl_convert

view = vl_convert.vegalite_to_scenegraph(json.load(sys.stdin))["scenegraph"]["items"][0]


def marks(item):
    for mark in item["items"]:
        if mark["marktype"] == "group":
            for each in mark["items"]:
                yield from marks(each)
        else:
            yield mark


def ticks(item):
    for mark in item["items"]:
        for axis in mark["items"] if mark.get("role") == "axis" else []:
            for labels in axis["items"]:
                if axis["orient"] == "left" and labels["role"] == "axis-label":
                    yield from ((each["y"], float(each["text"])) for each in labels["items"])


(first, low), *_, (last, high) = ticks(view)
shown = [item for mark in marks(view) if mark["role"] == "mark" and mark["marktype"] in ("line", "symbol")
         for item in mark["items"] if item.get("defined", True) and item.get("opacity", 1) > 0]
print(abs(round(min(low + (item["y"] - first) / (last - first) * (high - low) for item in shown), 1)))
PYTHON
for template in linear simple scatter; do
  lowest=$(dvc plots show --show-vega --template "$template" -x step -y loss log.csv | python read.py)
  echo "$template: the lowest loss is at $lowest"
  case "$template $lowest" in
    'linear 0.0' | 'simple 0.0' | 'scatter 0.0') ;;
    *) echo 'changed'; exit 1 ;;
  esac
done
echo "The lowest loss of the file is 7.0; the plots fall to 0."
