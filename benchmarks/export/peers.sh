#!/usr/bin/env bash
# The exporters to compare with and the runtimes that load our folders, each in an environment of its own (they pin other versions):
#   benchmarks/export/peers.sh FOLDER [optimum|timm]…
# makes FOLDER/optimum (optimum-onnx 0.1.0 on transformers 4.57) and FOLDER/timm (this project's versions, and timm).
set -euo pipefail
[ $# -ge 1 ] || { sed -n '2,4s/^# //p' "$0" >&2; exit 2; }
here=$(cd "$(dirname "$0")/../.." && pwd)
folder=$1
shift
[ $# -gt 0 ] || set -- optimum timm
for peer in "$@"; do
    python=$folder/$peer/bin/python
    [ -x "$python" ] || "${PYTHON:-python3}" -m venv "$folder/$peer"
    # torch first, and pinned: what asks for plain torch before it is there pulls gigabytes of another build
    "$python" -m pip install --disable-pip-version-check --quiet torch==2.13.0
    case $peer in
    optimum) "$python" -m pip install --disable-pip-version-check --quiet 'optimum-onnx[onnxruntime]==0.1.0' 'transformers==4.57.6' ;;
    timm)
        "$python" -m pip install --disable-pip-version-check --quiet --constraint "$here/constraints.txt" --editable "$here"
        # torchvision is built for another torch and only imported (transforms, no operators): from 0.16 on it cannot do without them
        "$python" -m pip install --disable-pip-version-check --quiet --no-deps timm torchvision==0.15.2
        "$python" -m pip install --disable-pip-version-check --quiet --constraint "$here/constraints.txt" huggingface_hub pyyaml requests
        ;;
    *)
        echo "$0: no peer '$peer'; there are: optimum, timm" >&2
        exit 2
        ;;
    esac
done
