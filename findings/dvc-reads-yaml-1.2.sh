#!/usr/bin/env bash
# Expected: what a stage reads from params.yaml is what DVC records and compares.
# What happens: DVC reads YAML 1.2, PyYAML reads YAML 1.1. Plain `no`, `12:30` and `1e-3` are other values for the two.
# So a change that the stage sees may leave `dvc status` clean, and `dvc repro` skips the stage.
# Seen on: DVC 3.67.1, PyYAML 6.0.3.
# Matters if a stage loads params.yaml with yaml.safe_load: its result is recorded under settings that it did not have.
# Known upstream: treeverse/dvc#5971, treeverse/dvc.org#1704.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export DVC_NO_ANALYTICS=1 DVC_SITE_CACHE_DIR="$work/site" PATH="$work/venv/bin:$PATH"
python3 -m venv "$work/venv"
python -m pip install --quiet --no-compile --disable-pip-version-check dvc==3.67.1 pyyaml==6.0.3
mkdir "$work/project" && cd "$work/project"
git init --quiet && dvc init --quiet

printf 'flip: no\nstart: 12:30\nrate: 1e-3\n' > params.yaml
cat > read.py <<'PYTHON'
import yaml
print("the stage reads", yaml.safe_load(open("params.yaml")))
PYTHON
cat > dvc.yaml <<'YAML'
stages:
  read:
    cmd: python read.py
    deps: [read.py]
    params: [flip, start, rate]
YAML
python -c 'import dvc, yaml; print("DVC", dvc.__version__, "PyYAML", yaml.__version__)'
dvc repro
cat params.yaml
python -c 'import dvc.api; print("DVC reads", dvc.api.params_show())'
before=$(python read.py)

printf 'flip: "no"\nstart: "12:30"\nrate: 0.001\n' > params.yaml
cat params.yaml
python read.py
dvc status | tee "$work/status"
grep -q 'up to date' "$work/status"
python - "$before" "$(python read.py)" <<'PYTHON'
import sys
assert sys.argv[1].endswith("{'flip': False, 'start': 750, 'rate': '1e-3'}"), sys.argv[1]
assert sys.argv[2].endswith("{'flip': 'no', 'start': '12:30', 'rate': 0.001}"), sys.argv[2]
print("All three values changed for the stage, none for DVC.")
PYTHON
