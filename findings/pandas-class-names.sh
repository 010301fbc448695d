#!/usr/bin/env bash
# pandas 3.1.1, Python 3.11, seen on 2026-11-28.
#
# read_csv of a table of labels changes the names of classes: NA, None and null become missing, 01, 1 and
# 1.0 become one number, true and TRUE one truth value. Three classes are one, or their rows fall out
# with dropna, without a warning. dtype=str alone does not help with the first; keep_default_na=False
# is needed besides.
#
# Output seen:
#   pandas 3.1.1
#   NA None null cat: read as nan nan nan cat
#   01 1 1.0: read as 1.0 1.0 1.0
#   true TRUE False: read as True True False
#   NA None null cat, as text: read as nan nan nan cat
#
# Exits 0 if that is what happens, 1 if it has changed.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3.11 -m pip install --quiet --disable-pip-version-check --target "$folder/site" --no-deps pandas==3.1.1 numpy==2.4.6 python-dateutil==2.9.0.post0 six==1.17.0
cd "$folder"

PYTHONPATH="$folder/site" python3.11 - <<'PYTHON'
import pandas as pd

print("pandas", pd.__version__)
found = []
for names, options in (
    (["NA", "None", "null", "cat"], {}),
    (["01", "1", "1.0"], {}),
    (["true", "TRUE", "False"], {}),
    (["NA", "None", "null", "cat"], {"dtype": str}),
):
    with open("labels.csv", "w") as file:
        file.write("file_name,label\n" + "".join(f"{k}.png,{name}\n" for k, name in enumerate(names)))
    read = [str(label) for label in pd.read_csv("labels.csv", **options)["label"]]
    print(f"{' '.join(names)}{', as text' if options else ''}: read as {' '.join(read)}")
    found.append(read)
missing = ["nan", "nan", "nan", "cat"]
raise SystemExit(found != [missing, ["1.0"] * 3, ["True", "True", "False"], missing])
PYTHON
