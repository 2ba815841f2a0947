"""The servers of the macro benchmarks: private, durable, and gone when their time has come."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from tests.file_systems import cannot_run
from tests.volumes import until

pytest.importorskip("numpy")

from aurora_engine.bench.run import WorkerProcess, run
from aurora_engine.bench.servers import mariadb, postgresql
from aurora_engine.bench.servers.process import ServerFailedError, ServerProcess, descendants
from aurora_engine.bench.sizes import SMOKE

CACHE_BYTES = 16 << 20
SERVERS = {"mariadb": mariadb.MariadbServer, "postgresql": postgresql.PostgresqlServer}
TINY = replace(SMOKE, sysbench_rows=300, sysbench_scripts=("write_only",), sql_clients=(1,))


def started(name: str, folder: Path) -> Any:
    kind = SERVERS[name]
    lacking = kind.missing()
    if lacking:
        cannot_run(lacking)
    return kind(folder, CACHE_BYTES)


@pytest.fixture(params=SERVERS)
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    made = started(request.param, tmp_path / "server")
    yield made
    made.close()


def ask(server: Any, sql: str) -> Any:
    connection = server.connect()
    cursor = connection.cursor()
    cursor.execute(sql)
    rows = cursor.fetchall()
    connection.close()
    return rows


def alive(processes: list[int]) -> bool:
    return any(Path(f"/proc/{each}").exists() for each in processes)


def open_files(process: int) -> set[str]:
    """What the descriptors of a process lead to; those that it closes meanwhile are left out."""
    held = set()
    for file in Path(f"/proc/{process}/fd").iterdir():
        with suppress(FileNotFoundError):
            held.add(str(file.readlink()))
    return held


def listening_on_network(process: int) -> bool:
    """Whether a process has a TCP socket that listens."""
    held = open_files(process)
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{process}/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and f"socket:[{fields[9]}]" in held:
                return True
    return False


def users(process: int) -> set[str]:
    """The real, effective, saved and file system user of a process."""
    for line in Path(f"/proc/{process}/status").read_text().splitlines():
        if line.startswith("Uid:"):
            return set(line.split()[1:])
    raise AssertionError("a process has a user")


def test_a_server_is_private(server: Any, tmp_path: Path) -> None:
    main = server.processes()[0]
    assert not listening_on_network(main)
    assert "0" not in users(main)
    assert (tmp_path / "server").stat().st_mode & 0o077 == 0


def test_mariadb_has_the_settings_that_the_report_shows(tmp_path: Path) -> None:
    server = started("mariadb", tmp_path / "server")
    try:
        found = dict(ask(server, "SHOW GLOBAL VARIABLES"))
        for option, wanted in mariadb.settings(CACHE_BYTES).items():
            name = option.replace("-", "_")
            if name == "skip_log_bin":
                assert found["log_bin"] == "OFF"
            elif name == "skip_networking":
                assert found[name] == "ON"
            elif name == "innodb_flush_neighbors":
                assert int(found[name]) == int(wanted)
            else:
                assert found[name] == wanted, name
        assert found["innodb_flush_method"] == "O_DIRECT"
    finally:
        server.close()


def flushed_pages(server: Any) -> int:
    ((_, count),) = ask(server, "SHOW GLOBAL STATUS LIKE 'Innodb_buffer_pool_pages_flushed'")
    return int(count)


def test_mariadb_leaves_no_pages_of_a_load_to_be_written_later(tmp_path: Path) -> None:
    server = started("mariadb", tmp_path / "server")
    try:
        with closing(server.connect()) as connection:
            cursor = connection.cursor()
            cursor.execute("CREATE TABLE loaded (id INTEGER PRIMARY KEY, v CHAR(200))")
            rows = [(number, "v" * 200) for number in range(20_000)]
            cursor.executemany("INSERT INTO loaded (id, v) VALUES (%s, %s)", rows)
            before = flushed_pages(server)
            mariadb.settle(cursor, ["loaded"])
            # 4 MB of rows, 16 KiB a page.
            assert flushed_pages(server) - before > 240
            cursor.execute("UPDATE loaded SET v = '' WHERE id = 7")  # no lock is left
    finally:
        server.close()


def test_postgresql_has_the_settings_that_the_report_shows(tmp_path: Path) -> None:
    server = started("postgresql", tmp_path / "server")
    try:
        for name, wanted in postgresql.settings(CACHE_BYTES).items():
            assert ask(server, f"SHOW {name}") == [(wanted,)], name
    finally:
        server.close()


@pytest.mark.parametrize("name", SERVERS)
def test_a_commit_of_a_server_is_a_flush(name: str, tmp_path: Path) -> None:
    if SERVERS[name].missing():
        cannot_run(SERVERS[name].missing())
    sizes = replace(TINY, seconds=0.3)
    results = run(["sysbench"], [name], sizes, tmp_path)
    assert not results.failed
    (sample,) = results.samples
    flushes = sample["usage"]["device_flushes"]
    if flushes >= 0:
        assert flushes >= 0.9 * sample["details"]["operations"], sample


@pytest.mark.parametrize("name", SERVERS)
def test_programs_in_c_work_on_the_same_tables(name: str, tmp_path: Path) -> None:
    native = f"{name}-c"
    results = run(["sysbench", "tpcb"], [native], TINY, tmp_path)
    if native in results.missing:
        cannot_run(results.missing[native])
    assert not results.failed
    assert {sample["workload"] for sample in results.samples} == (
        {"sysbench"} if name == "mariadb" else {"sysbench", "tpcb"}
    )
    for sample in results.samples:
        assert sample["details"]["operations"] > 0
        assert sample["value"] > 0


@pytest.mark.parametrize("name", SERVERS)
def test_what_was_committed_is_there_after_a_kill(name: str, tmp_path: Path) -> None:
    server = started(name, tmp_path / "server")
    with closing(server.connect()) as connection:
        connection.cursor().execute("CREATE TABLE t (id INTEGER PRIMARY KEY)")
        connection.cursor().execute("INSERT INTO t VALUES (7)")
    everyone = server.processes()
    os.kill(everyone[0], signal.SIGKILL)
    server.close()
    until(lambda: not alive(everyone), "every process of the server has ended", 20)
    server = started(name, tmp_path / "server")
    assert [tuple(row) for row in ask(server, "SELECT id FROM t")] == [(7,)]
    server.close()


def stopped(process: int) -> bool:
    """Whether a process does nothing; one that had ended before is not even waited for."""
    state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    return state in "TZ"


def test_outside_of_its_turn_every_process_of_a_server_is_stopped(tmp_path: Path) -> None:
    lacking = postgresql.PostgresqlServer.missing()
    if lacking:
        cannot_run(lacking)
    worker = WorkerProcess(tmp_path / "log")
    try:
        sizes = asdict(TINY)
        worker.ask("start", kind="sql", engine="postgresql", folder=str(tmp_path), sizes=sizes)
        worker.ask("prepare", workload="sql-rows")
        everyone = descendants(worker.process_id)
        assert len(everyone) > 3
        until(lambda: all(map(stopped, everyone)), "every process is stopped", 10)
    finally:
        worker.close()
    assert not alive(everyone)


STARTER = """
import importlib, sys, time
from pathlib import Path
kind = getattr(importlib.import_module(sys.argv[1]), sys.argv[2])
server = kind(Path(sys.argv[3]), 16 << 20)
print(*server.processes(), flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize("name", SERVERS)
def test_a_server_does_not_outlive_who_started_it(
    name: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    # Not below `tmp_path`, whose name may be longer than a socket's name can be.
    sockets = Path(tempfile.mkdtemp())
    request.addfinalizer(lambda: shutil.rmtree(sockets))
    if SERVERS[name].missing():
        cannot_run(SERVERS[name].missing())
    kind = SERVERS[name]
    starter = subprocess.Popen(
        [sys.executable, "-c", STARTER, kind.__module__, kind.__name__, str(tmp_path / "server")],
        stdout=subprocess.PIPE,
        text=True,
        # Where the folder of the socket stays, which nobody is left to remove.
        env={**os.environ, "TMPDIR": str(sockets)},
    )
    assert starter.stdout is not None
    processes = [int(each) for each in starter.stdout.readline().split()]
    assert processes
    starter.kill()
    starter.wait()
    starter.stdout.close()
    until(lambda: not alive(processes), "every process of the server has ended", 20)


def test_a_server_that_does_not_start_says_why(tmp_path: Path) -> None:
    def never(_sockets: Path) -> bool:
        return False

    command = ["sh", "-c", "echo no room left; exit 3"]
    with pytest.raises(ServerFailedError, match=r"ended with 3: no room left"):
        ServerProcess(lambda _sockets: command, tmp_path / "log", never, signal.SIGTERM)


def test_a_stopped_server_ends_all_the_same(tmp_path: Path) -> None:
    def answers(sockets: Path) -> bool:
        return (sockets / "ready").exists()

    # As a server with processes of its own, each of which was stopped outside of its turn.
    def command(sockets: Path) -> list[str]:
        return ["sh", "-c", f"sleep 600 & touch {sockets}/ready; wait"]

    server = ServerProcess(command, tmp_path / "log", answers, signal.SIGTERM)
    until(lambda: len(server.processes()) == 2, "the shell and who sleeps are left")
    everyone = server.processes()
    for each in everyone:
        os.kill(each, signal.SIGSTOP)
    server.close()
    assert not server.sockets.exists()
    assert descendants(everyone[0]) == [everyone[0]]
    os.kill(everyone[1], signal.SIGKILL)


def test_a_socket_name_fits_however_deep_the_folder(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 100) / ("e" * 100)
    deep.mkdir(parents=True)
    server = started("postgresql", deep / "server")
    try:
        with socket.socket(socket.AF_UNIX) as door:
            door.connect(f"{server.sockets}/.s.PGSQL.{postgresql.PORT}")
    finally:
        server.close()
