#!/usr/bin/env bash
# Check that the libraries in a wheel need no newer glibc than given, and no library beside it: check_glibc.sh 2.17 WHEEL
set -euo pipefail

newest=$1
wheel=$2
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m zipfile -e "$wheel" "$folder"
status=0
while IFS= read -r library; do
    needed=$(readelf --dyn-syms --wide "$library" | grep -oE '@GLIBC_[0-9.]+' | sed 's/@GLIBC_//' | sort -Vu | tail -n 1)
    if [ -n "$needed" ] && [ "$(printf '%s\n%s\n' "$needed" "$newest" | sort -V | tail -n 1)" != "$newest" ]; then
        echo "$(basename "$library") needs glibc $needed:" >&2
        readelf --dyn-syms --wide "$library" | grep -E "@GLIBC_$needed" >&2
        status=1
    fi
    others=$(readelf -d "$library" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p' |
        grep -vE '^(libaurora|libc|libm|libpthread|libdl|librt|ld-linux.*)\.so' || true)
    if [ -n "$others" ]; then
        echo "$(basename "$library") needs libraries that a wheel may not expect: $others" >&2
        status=1
    fi
done < <(find "$folder" -name '*.so')
exit $status
