#!/usr/bin/env bash
# Expected: `dvc plots` draws a column that is called `acc_0.5`, as it draws one that is called `acc`; DVC escapes the dot.
# What happens: the template `scatter` (and `simple`) draws an empty plot, without a warning. DVC escapes the name in x and
# y but not in the tooltip, where Vega-Lite takes it for the entry "5" of an object `acc_0` and overwrites the column.
# Seen on: DVC 3.67.1, dvc-render 1.0.2, vl-convert-python 1.9.0 (Vega-Lite 6.4).
# Matters since thresholds are part of the names of many metrics: mAP@0.5, IoU_0.75, top-0.1.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export DVC_NO_ANALYTICS=1 DVC_SITE_CACHE_DIR="$work/site" PATH="$work/venv/bin:$PATH"
python3 -m venv "$work/venv"
python -m pip install --quiet --no-compile --disable-pip-version-check dvc==3.67.1 dvc-render==1.0.2 \
  vl-convert-python==1.9.0.post1
mkdir "$work/project" && cd "$work/project"
git init --quiet && dvc init --quiet
printf 'step,acc_0.5,acc\n1,0.1,0.1\n2,0.2,0.2\n3,0.3,0.3\n' > log.csv
cat log.csv
cat > count.py <<'PYTHON'
"""The number of points in a plot."""
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


print(sum(item.get("defined", True) for mark in marks(view) if mark["role"] == "mark" for item in mark["items"]))
PYTHON
for template in scatter simple; do
  for column in acc acc_0.5; do
    points=$(dvc plots show --show-vega --template "$template" -x step -y "$column" log.csv | python count.py)
    echo "$template of $column: $points points"
    case "$column $points" in
      'acc 3' | 'acc_0.5 0') ;;
      *) echo 'changed'; exit 1 ;;
    esac
  done
done
echo "The same numbers, a dot in the name: no points."
