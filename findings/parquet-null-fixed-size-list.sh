#!/usr/bin/env bash
# Expected: what pyarrow writes to Parquet without an error, pyarrow reads.
# What happens: a column of fixed-size lists, such as boxes of four numbers, is written with a null in it, and then can
# be read no more. Lists of any length, and Feather files, keep the null.
# Seen on: pyarrow 25.0.1, pandas 3.1.1.
# Matters if a box is missing in one row of a hundred thousand: the loss shows when the file is read, maybe much later.
# Known upstream: apache/arrow#35692 (open since 2023, a fix was merged as #50271 for a later release).
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --no-compile --disable-pip-version-check pyarrow==25.0.1 pandas==3.1.1

"$work/venv/bin/python" - "$work" <<'PYTHON'
import sys

import pandas as pd
import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.parquet as parquet

boxes = [[1.0, 2.0, 3.0, 4.0], None]
fixed = pa.table({"box": pa.array(boxes, pa.list_(pa.float32(), 4))})
free = pa.table({"box": pa.array(boxes, pa.list_(pa.float32()))})
path = f"{sys.argv[1]}/boxes"
print("pyarrow", pa.__version__, "pandas", pd.__version__)

parquet.write_table(free, path)
print("Parquet, lists of any length:", parquet.read_table(path)["box"].to_pylist())
feather.write_feather(fixed, path)
print("Feather, lists of four:", feather.read_table(path)["box"].to_pylist())
parquet.write_table(fixed, path)
print("Parquet, lists of four: written")
for read in (parquet.read_table, pd.read_parquet):
    try:
        read(path)
    except pa.ArrowInvalid as error:
        print(f"{read.__module__}.{read.__name__} raises ArrowInvalid: {error}")
    else:
        raise SystemExit("changed: the null is read back")
PYTHON
