#!/usr/bin/env bash
# Expected: `dvc exp run -S 'weights={a: 5}'` sets weights to {a: 5}, as -S sets a number, a text or a list.
# What happens: a mapping is merged into the one of params.yaml. Entries that were not named stay.
# To replace it, set it to null first, in the same command.
# Seen on: DVC 3.67.1, hydra-core 1.3.8.
# Matters if a mapping is one setting, such as the weight of each loss: the experiment runs with weights that nobody
# asked for, and its command line does not show them.
# Known upstream: the values are parsed and applied by Hydra, which merges (omry/omegaconf#168, hydra#1896).
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export DVC_NO_ANALYTICS=1 DVC_SITE_CACHE_DIR="$work/site" PATH="$work/venv/bin:$PATH"
python3 -m venv "$work/venv"
python -m pip install --quiet --no-compile --disable-pip-version-check dvc==3.67.1 hydra-core==1.3.8
mkdir "$work/project" && cd "$work/project"
git init --quiet && dvc init --quiet
git config user.name nobody && git config user.email nobody@example.org
python -c 'import dvc, hydra; print("DVC", dvc.__version__, "Hydra", hydra.__version__)'

printf 'layers: [1, 2, 3]\nweights: {a: 3, b: 1}\n' > params.yaml
printf 'stages:\n  show:\n    cmd: "true"\n    params: [layers, weights]\n' > dvc.yaml
git add --all && git commit --quiet --message start

try() { # expected line, options of dvc exp run
  local expected=$1
  shift
  dvc exp run --quiet "$@"
  local found
  found=$(grep weights: params.yaml)
  echo "$* -> $(tr '\n' ' ' < params.yaml)"
  git checkout --quiet params.yaml
  [ "$found" = "$expected" ] || { echo "changed: expected $expected"; exit 1; }
}

cat params.yaml
try 'weights: {a: 3, b: 1}' -S 'layers=[9]'
try 'weights: {a: 5, b: 1}' -S 'weights={a: 5}'
try 'weights: {a: 5}' -S weights=null -S 'weights={a: 5}'
echo "The list was replaced, the mapping was merged, and replaced only after null."
