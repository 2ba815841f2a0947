#!/usr/bin/env bash
# Install the package with each Python on this machine, in an environment of its own, and use it once.
#
#   tools/try_pythons.sh [--except-default]     --except-default skips the Python that .venv is made of
set -euo pipefail
cd "$(dirname "$0")/.."

default=
if [ "${1:-}" = --except-default ]; then
    default=$("$(tools/find_python.sh)" -c 'import sys; print("%d%d" % sys.version_info[:2])')
fi
tried=0
while IFS= read -r python; do
    version=$("$python" -c 'import sys; print("%d%d" % sys.version_info[:2])')
    [ "$version" = "$default" ] && continue
    echo "$("$python" --version) ($python)"
    venv=build/python-$version
    rm -rf "$venv"
    "$python" -m venv "$venv"
    "$venv/bin/python" -m pip -q install .
    "$venv/bin/python" -I tools/smoke_wheel.py
    tried=$((tried + 1))
done < <(tools/list_pythons.sh)
echo "$tried Python version(s) tried"
