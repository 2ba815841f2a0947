#!/usr/bin/env bash
# Build the package with other CMake options into an environment of its own, next to the ordinary .venv.
#
#   tools/variant_venv.sh NAME [-DOPTION=VALUE]...     ->  build/NAME-venv/bin/python
#
# The new environment sees everything installed in .venv, but its own aurora_engine first.
set -euo pipefail
cd "$(dirname "$0")/.."

# cython, cmake and ninja are found by name.
export PATH=$PWD/.venv/bin:$PATH
name=$1
shift
settings=()
for define in "$@"; do
    settings+=(-C "cmake.define.${define#-D}")
done

venv=build/$name-venv
if [ ! -x "$venv/bin/python" ]; then
    .venv/bin/python -m venv --without-pip "$venv"
fi
site() { "$1" -c 'import sysconfig; print(sysconfig.get_path("purelib"))'; }
site .venv/bin/python >"$(site "$venv/bin/python")/after_ours.pth"
.venv/bin/python -m pip --quiet --python "$venv/bin/python" install --no-build-isolation --no-deps \
    --ignore-installed "${settings[@]}" -C "build-dir=build/$name-package" .
# Found without importing: a sanitizer build imports only with its runtime preloaded.
"$venv/bin/python" -c "from importlib.util import find_spec as f; s = f('aurora_engine').origin; assert '/$venv/' in s, s"
echo "built $venv"
