#!/bin/sh
# The peers' environments: benchmarks/quantize/peers.sh FOLDER makes FOLDER/nncf and FOLDER/olive (two to five minutes, 4 GB).
# Each pins what its results were taken with. torch goes first: asked for by others, pip would take a build with CUDA.
set -eu
folder=${1:?give the folder to make the environments in}
here=$(cd "$(dirname "$0")/../.." && pwd)
python=${PYTHON:-python3}

make_environment() {
    [ -x "$folder/$1/bin/python" ] || "$python" -m venv "$folder/$1"
    "$folder/$1/bin/python" -m pip install --disable-pip-version-check --quiet "$(grep '^torch==' "$here/constraints.txt")"
    name=$1
    shift
    "$folder/$name/bin/python" -m pip install --disable-pip-version-check --quiet "$@"
}

make_environment nncf nncf==3.4.0 onnx==1.20.1 onnxruntime==1.32.0
make_environment olive olive-ai==0.13.0 onnxruntime==1.32.0 requests  # it imports requests without declaring it
echo "pass them as --nncf $folder/nncf/bin/python --olive $folder/olive/bin/python"
