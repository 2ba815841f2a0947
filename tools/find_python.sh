#!/usr/bin/env bash
# Print a Python of version 3.11 or newer: $PYTHON if set, else python3, else the newest python3.N on the PATH.
set -euo pipefail

is_new_enough() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
}

if [ -n "${PYTHON:-}" ]; then
    is_new_enough "$PYTHON" || { echo "PYTHON=$PYTHON is not a Python >= 3.11" >&2; exit 1; }
    command -v "$PYTHON"
    exit 0
fi
for name in python3 python3.14 python3.13 python3.12 python3.11; do
    if command -v "$name" >/dev/null && is_new_enough "$name"; then
        # The interpreter itself: neither a version manager's wrapper, whose choice depends on the folder, nor a venv.
        "$name" -c 'import sys; print(getattr(sys, "_base_executable", sys.executable))'
        exit 0
    fi
done
echo "No Python >= 3.11 found: install one (Debian 12: apt-get install python3) or set PYTHON=/path/to/python" >&2
exit 1
