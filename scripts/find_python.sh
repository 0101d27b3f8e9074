#!/usr/bin/env bash
# Prints the first Python 3.11 to 3.13 on the PATH (if $PYTHON is set, only that one is tried).
set -euo pipefail
fits='import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))'
for candidate in ${PYTHON:-python3 python3.13 python3.12 python3.11}; do
  if "$candidate" -c "$fits" 2>/dev/null; then echo "$candidate"; exit 0; fi
done
echo "vilam needs Python 3.11, 3.12 or 3.13: none found; install one, or name it: make PYTHON=/path/to/python3.11 setup" >&2
exit 1
