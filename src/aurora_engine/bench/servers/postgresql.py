"""PostgreSQL on a private folder."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aurora_engine.bench.machine import package_missing, package_version
from aurora_engine.bench.servers.process import (
    ServerProcess,
    find_program,
    private_folder,
    run_as_nobody,
)

with suppress(ImportError):  # `missing` says so
    import psycopg

__all__ = ["PostgresqlServer", "is_clash", "prepared", "program", "settings"]

if TYPE_CHECKING:
    Cursor = psycopg.Cursor[Any]

DATABASE = USER = "postgres"
PORT = 5432  # only a part of the socket's name
DISCONNECT_S_MAX, POLL_S = 1.0, 0.001


def settings(cache_bytes: int) -> dict[str, str]:
    """Parameters of the server that are not its defaults, and those that durability rests on."""
    return {
        # A server's cache is its only one; the others have the system's beside theirs.
        "shared_buffers": f"{2 * cache_bytes >> 20}MB",
        "fsync": "on",
        "synchronous_commit": "on",
        "full_page_writes": "on",
        "wal_sync_method": "fdatasync",
        "max_wal_size": "4GB",
        "checkpoint_timeout": "15min",
        "max_connections": "300",
        "listen_addresses": "",
    }


class PostgresqlServer:
    """A server whose only user needs no password, and who is alone with its socket.

    Parameters
    ----------
    folder : Path
        Gets the server's files; made if it is not there.
    cache_bytes : int
        Half of the size of the shared buffers.
    """

    def __init__(self, folder: Path, cache_bytes: int) -> None:
        data = private_folder(folder) / "data"
        if not data.exists():
            _initialize(data)
        self._server = ServerProcess(
            lambda sockets: _command(data, sockets, cache_bytes),
            folder / "server.log",
            _answers,
            # Fast: sessions are ended, and what is in memory goes to the files.
            signal.SIGINT,
        )
        self.sockets = self._server.sockets

    @staticmethod
    def missing() -> str | None:
        """What has to be installed; None when nothing."""
        if _found("postgres") is None or _found("initdb") is None:
            return "no PostgreSQL server: apt-get install postgresql"
        return package_missing("psycopg")

    @staticmethod
    def version() -> str:
        """Versions of the server and of the driver."""
        driver = f"psycopg {package_version('psycopg')} ({psycopg.pq.__impl__})"
        return f"{server_version()}, {driver}"

    def connect(self) -> psycopg.Connection[Any]:
        """A new connection of the driver, in autocommit mode."""
        return _connect(self.sockets)

    @staticmethod
    def disconnect(connection: psycopg.Connection[Any]) -> None:
        """Closes a connection, and waits for the end of its process in the server.

        Only then is what that process took counted among what the server's children took.
        """
        process = Path(f"/proc/{connection.info.backend_pid}")
        connection.close()
        end = time.monotonic() + DISCONNECT_S_MAX
        while process.exists() and time.monotonic() < end:
            time.sleep(POLL_S)

    def processes(self) -> list[int]:
        """Ids of the server's processes."""
        return self._server.processes()

    def close(self) -> None:
        """Stops the server."""
        self._server.close()


def prepared(cursor: Cursor, sql: str) -> Callable[[Sequence[Any]], Cursor]:
    """What executes a statement that the server has prepared, in one round trip."""
    return partial(cursor.execute, sql, prepare=True)


def is_clash(error: Exception) -> bool:
    """Whether a transaction failed only because of others."""
    return isinstance(
        error,
        (
            psycopg.errors.SerializationFailure,
            psycopg.errors.DeadlockDetected,
            # As READ COMMITTED has it when two delete a row and put it back.
            psycopg.errors.UniqueViolation,
        ),
    )


def _found(name: str) -> Path | None:
    versions = Path("/usr/lib/postgresql").glob("*/bin")
    # Those of Debian first: others on the path may be anything.
    return find_program(name, *sorted(versions, key=lambda folder: float(folder.parent.name)))


def program(name: str) -> Path:
    """A program that comes with the server."""
    found = _found(name)
    assert found is not None, f"{name} has been looked for"
    return found


def server_version() -> str:
    """Version of the program."""
    said = subprocess.run(
        [program("postgres"), "--version"], capture_output=True, text=True, check=True
    ).stdout
    # "postgres (PostgreSQL) 15.18 (Debian ...)"
    return "PostgreSQL " + said.partition(") ")[2].partition(" ")[0].strip()


def _initialize(data: Path) -> None:
    run_as_nobody(
        [
            program("initdb"),
            f"--pgdata={data}",
            f"--username={USER}",
            "--auth=trust",
            "--encoding=UTF8",
            "--locale=C",
            "--no-instructions",
        ],
        data.parent,
    )


def _command(data: Path, sockets: Path, cache_bytes: int) -> list[str | Path]:
    chosen = settings(cache_bytes) | {"unix_socket_directories": str(sockets)}
    options = [word for name, value in chosen.items() for word in ("-c", f"{name}={value}")]
    return [program("postgres"), "-D", data, "-p", str(PORT), *options]


def _connect(sockets: Path) -> psycopg.Connection[Any]:
    return psycopg.connect(
        host=str(sockets), port=PORT, user=USER, dbname=DATABASE, autocommit=True
    )


def _answers(sockets: Path) -> bool:
    try:
        _connect(sockets).close()
    except psycopg.OperationalError:
        return False
    return True
