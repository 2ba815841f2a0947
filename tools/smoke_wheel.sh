#!/usr/bin/env bash
# Install a wheel for the Python of .venv into an empty environment without a compiler on the PATH, and use it.
#
#   tools/smoke_wheel.sh [WHEEL]      default: the x86_64 or aarch64 wheel in wheelhouse/ that fits this machine
set -euo pipefail
cd "$(dirname "$0")/.."

python=$(tools/find_python.sh)
version=$("$python" -c 'import sys; print("cp%d%d" % sys.version_info[:2])')
wheel=${1:-$(ls -t wheelhouse/*-"$version"-*"$(uname -m)"*.whl | head -n 1)}
folder=$(mktemp -d)
trap '/bin/rm -rf "$folder"' EXIT  # the PATH below has no rm
"$python" -m venv "$folder/venv"
# Only the environment's own commands: neither a compiler nor cmake can be found.
export PATH=$folder/venv/bin
if command -v cc gcc clang cmake >/dev/null; then
    echo "a compiler is still on the PATH" >&2
    exit 1
fi
"$folder/venv/bin/python" -m pip -q install --only-binary :all: "$wheel"
"$folder/venv/bin/python" -I tools/smoke_wheel.py
