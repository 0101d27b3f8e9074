#!/usr/bin/env bash
# Expected: if `pip check` finds nothing, the packages work together.
# What happens: Prefect asks for any FastAPI below 1.0 and uses an argument that FastAPI 0.155 removed. A fresh
# installation takes a newer FastAPI, `pip check` is content, and the simplest flow dies at its start.
# Seen on: Prefect 3.8.8 with FastAPI 0.155.0 (fails) and 0.150.0 (works), starlette 1.10.0.
# Matters if one pins Prefect and not what it uses: an environment that worked last month is rebuilt and does not.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export PREFECT_HOME="$work/home" PREFECT_SERVER_ANALYTICS_ENABLED=false DO_NOT_TRACK=1
export PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS=120
unset PREFECT_API_URL
python3 -m venv "$work/venv"
cat > "$work/hello.py" <<'PYTHON'
from prefect import flow


@flow
def hello():
    return "the flow ran"


print(hello())
PYTHON

install() { # a version of FastAPI
  "$work/venv/bin/python" -m pip install --quiet --no-compile --disable-pip-version-check \
    prefect==3.8.8 "fastapi==$1" starlette==1.10.0 pydantic==2.14.3
  "$work/venv/bin/python" -m pip freeze | grep -E '^(prefect|fastapi)==' | tr '\n' ' '
  "$work/venv/bin/python" -m pip check
}

install 0.155.0
if "$work/venv/bin/python" "$work/hello.py" > "$work/out" 2>&1; then
  echo "changed: Prefect works with FastAPI 0.155"
  exit 1
fi
tail -1 "$work/out"
grep -q "unexpected keyword argument 'min_items'" "$work/out"
install 0.150.0
"$work/venv/bin/python" "$work/hello.py" > "$work/out" 2>&1
grep "the flow ran" "$work/out"
