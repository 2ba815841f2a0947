#!/usr/bin/env bash
# Install what the system lacks, by trying what is needed rather than by asking which packages are there.
#
#   tools/install_system.sh build [test] [fuzz] [cross] [cache] [eio] [power-cut] [count] [servers]
#
# build: C compiler, Python headers and venv, pkg-config, liburing, SQLite's headers    fuzz: clang with libFuzzer
# test: the tests of CPython itself, which Debian packs apart
# cross: aarch64 compiler and qemu-user                               cache: ccache
# eio: mkfs.ext4 and mount, for file systems that fail              count: valgrind
# power-cut: the same as eio, and nbdkit under FUSE, for disks that forget
# servers: MariaDB, PostgreSQL, sysbench, and what the driver of MariaDB is compiled with
set -euo pipefail

missing=()
need() { missing+=("$@"); }

links_fuzzer() {
    local folder
    folder=$(mktemp -d)
    echo 'int LLVMFuzzerTestOneInput(const char *b, unsigned long n) { return b && n ? 0 : 0; }' >"$folder/f.c"
    clang -fsanitize=fuzzer,address "$folder/f.c" -o "$folder/f" 2>/dev/null
    local result=$?
    rm -rf "$folder"
    return $result
}

for feature in "$@"; do
    case $feature in
    build)
        command -v cc >/dev/null && command -v make >/dev/null || need build-essential
        command -v git >/dev/null || need git
        python=$("$(dirname "$0")/find_python.sh" 2>/dev/null) || { need python3; python=; }
        headers='import os, sys, sysconfig; sys.exit(not os.path.exists(sysconfig.get_path("include") + "/Python.h"))'
        [ -n "$python" ] && "$python" -c "$headers" || need python3-dev
        [ -n "$python" ] && "$python" -c 'import ensurepip, venv' 2>/dev/null || need python3-venv
        # Optional at build: without liburing the engine writes with threads.
        command -v pkg-config >/dev/null || need pkg-config
        pkg-config --exists liburing 2>/dev/null || need liburing-dev
        # For a test that compares our declarations with SQLite's headers.
        echo '#include <sqlite3ext.h>' | cc -E - >/dev/null 2>&1 || need libsqlite3-dev
        ;;
    test)
        python=$("$(dirname "$0")/find_python.sh")
        # Only the system's own Python is missing something that apt has.
        packed='import sys; sys.exit(sys.base_prefix != "/usr")'
        version='import sys; print("%d.%d" % sys.version_info[:2])'
        "$python" -c 'import test.test_sqlite3' 2>/dev/null >&2 || ! "$python" -c "$packed" ||
            need "libpython$("$python" -c "$version")-testsuite"
        ;;
    fuzz)
        command -v clang >/dev/null || need clang
        command -v clang >/dev/null && links_fuzzer || need libclang-rt-14-dev libfuzzer-14-dev
        ;;
    cross)
        command -v aarch64-linux-gnu-gcc >/dev/null || need gcc-aarch64-linux-gnu libc6-dev-arm64-cross
        command -v qemu-aarch64-static >/dev/null || need qemu-user-static
        ;;
    cache)
        command -v ccache >/dev/null || need ccache
        ;;
    eio)
        PATH=$PATH:/usr/sbin:/sbin command -v mkfs.ext4 >/dev/null || need e2fsprogs
        command -v mount >/dev/null || need mount
        ;;
    power-cut)
        PATH=$PATH:/usr/sbin:/sbin command -v mkfs.ext4 >/dev/null || need e2fsprogs
        command -v mount >/dev/null || need mount
        nbdkit python --version >/dev/null 2>&1 || need nbdkit nbdkit-plugin-python
        command -v nbdfuse >/dev/null || need libnbd-bin
        command -v fusermount3 >/dev/null || need fuse3
        ;;
    count)
        command -v valgrind >/dev/null || need valgrind
        ;;
    servers)
        # Without the packages that start a server, and without a cluster of Debian's own.
        PATH=$PATH:/usr/sbin command -v mariadbd >/dev/null || need mariadb-server-core
        command -v my_print_defaults >/dev/null || need mariadb-client-core
        compgen -G '/usr/lib/postgresql/*/bin/postgres' >/dev/null || need postgresql
        command -v sysbench >/dev/null || need sysbench
        command -v pkg-config >/dev/null || need pkg-config
        pkg-config --exists libmariadb 2>/dev/null || need libmariadb-dev
        ;;
    *)
        echo "unknown feature: $feature" >&2
        exit 2
        ;;
    esac
done

if [ ${#missing[@]} -eq 0 ]; then
    exit 0
fi
if ! command -v apt-get >/dev/null; then
    echo "Not a Debian system. Please install the equivalents of: ${missing[*]}" >&2
    exit 1
fi
run_as_root=()
if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || { echo "Need root or sudo to install: ${missing[*]}" >&2; exit 1; }
    run_as_root=(sudo)
fi
echo "installing with apt-get: ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
"${run_as_root[@]}" apt-get -qq update
case " ${missing[*]} " in
*" postgresql "*)
    "${run_as_root[@]}" mkdir -p /etc/postgresql-common/createcluster.d
    echo 'create_main_cluster = false' |
        "${run_as_root[@]}" tee /etc/postgresql-common/createcluster.d/aurora-engine.conf >/dev/null
    ;;
esac
"${run_as_root[@]}" apt-get -qq install -y --no-install-recommends "${missing[@]}" >/dev/null
