#!/usr/bin/env bash
# Renews requirements.lock: one file for Python 3.11 to 3.13 on Linux and macOS, dev tools included. Pins that still
# fit pyproject.toml stay as they are. Left out: what only other systems need, and the CUDA parts of torch, which
# torch itself requires if its build needs them.
set -euo pipefail
uv pip compile pyproject.toml --quiet --group dev --universal --python-version 3.11 --no-annotate --no-header \
  --no-emit-index-url --no-emit-find-links --output-file requirements.lock
others="(^(nvidia-|cuda-|triton==))|(; sys_platform == 'win32'$)|(and sys_platform == 'emscripten'$)"
grep -vE "$others" requirements.lock | sed 's/+cpu//' > requirements.lock.new
mv requirements.lock.new requirements.lock
