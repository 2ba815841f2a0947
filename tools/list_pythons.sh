#!/usr/bin/env bash
# Print one interpreter for each CPython 3.11 or newer on this machine: on the PATH and in pyenv's folder.
set -euo pipefail

candidates=()
for minor in 11 12 13 14 15; do
    while IFS= read -r path; do
        candidates+=("$path")
    done < <(ls -d "${PYENV_ROOT:-$HOME/.pyenv}/versions/3.$minor".*/bin/python 2>/dev/null | sort -V -r;
        command -v "python3.$minor" || true)
done
declare -A seen
for path in "${candidates[@]}"; do
    usable='import os, sys, sysconfig, venv, ensurepip
if sys.implementation.name == "cpython" and os.path.exists(sysconfig.get_path("include") + "/Python.h"):
    print("%d.%d" % sys.version_info[:2], getattr(sys, "_base_executable", sys.executable))'
    read -r version executable < <("$path" -c "$usable" 2>/dev/null || true) || continue
    if [ -z "${seen[$version]:-}" ]; then
        seen[$version]=1
        echo "$executable"
    fi
done
