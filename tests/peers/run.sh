#!/usr/bin/env bash
# Load exports in the tools that people load folders of images with: datasets, torchvision, timm,
# ultralytics, keras, fastai, webdataset and supervision, at the versions of the extra `peers`.
#
# They go into an environment of their own, which borrows what .venv holds (torch above all) where
# there is one (a minute, 0.9 GB); without it pip installs everything. Words are given to pytest.
set -euo pipefail
cd "$(dirname "$0")/../.."

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python=${PYTHON:-python3}
if [ -x .venv/bin/python ]; then python=.venv/bin/python; fi
"$python" -m venv "$work/venv"
site() { "$1" -c 'import sysconfig; print(sysconfig.get_path("purelib"))'; }
if [ -x .venv/bin/python ]; then
    echo "import site; site.addsitedir('$(site .venv/bin/python)')" \
        > "$(site "$work/venv/bin/python")/shared.pth"
fi
"$work/venv/bin/python" -m pip install --quiet --constraint constraints.txt --editable '.[dev,peers]'

# nothing is fetched, and nothing written outside the folder that is removed again
export HF_HUB_OFFLINE=1 HF_HOME="$work/hf" YOLO_OFFLINE=True YOLO_CONFIG_DIR="$work/yolo"
export KERAS_BACKEND=torch KERAS_HOME="$work/keras" FASTAI_HOME="$work/fastai"
# -W: what these tools warn of is not ours
"$work/venv/bin/python" -m pytest -n 0 -W ignore tests/peers/loaders.py tests/peers/box_loaders.py "$@"
