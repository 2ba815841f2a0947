"""MariaDB on a private folder."""

from __future__ import annotations

import importlib.util
import signal
import socket
import subprocess
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from aurora_engine.bench.machine import package_version
from aurora_engine.bench.servers.process import (
    ServerProcess,
    find_program,
    private_folder,
    run_as_nobody,
)

with suppress(ImportError):  # `missing` says so
    import MySQLdb
    from MySQLdb.constants import CLIENT

__all__ = ["MariadbServer", "is_clash", "prepared", "settings", "settle"]

SOCKET = "mariadb.sock"
DATABASE = "bench"
USER = "root"
LOCK_WAIT_TIMEOUT, DEADLOCK, CHANGED_SINCE_READ = 1205, 1213, 1020


def settings(cache_bytes: int) -> dict[str, str]:
    """Options of the server that are not its defaults, by their names on the command line."""
    return {
        # A server's cache is its only one; the others have the system's beside theirs.
        "innodb-buffer-pool-size": str(2 * cache_bytes),
        "innodb-flush-log-at-trx-commit": "1",
        "innodb-doublewrite": "ON",
        "innodb-log-file-size": str(1 << 30),
        "innodb-io-capacity": "2000",
        "innodb-io-capacity-max": "4000",
        "innodb-flush-neighbors": "0",
        "skip-log-bin": "",
        "performance-schema": "OFF",
        "max-connections": "300",
        "skip-networking": "",
    }


class MariadbServer:
    """A server with one empty database, whose only user is root without a password.

    Parameters
    ----------
    folder : Path
        Gets the server's files; made if it is not there.
    cache_bytes : int
        Half of the size of the buffer pool.
    """

    def __init__(self, folder: Path, cache_bytes: int) -> None:
        data = private_folder(folder) / "data"
        if not data.exists():
            _initialize(data)
        self._server = ServerProcess(
            lambda sockets: _command(data, sockets / SOCKET, cache_bytes),
            folder / "server.log",
            lambda sockets: _answers(sockets / SOCKET),
            signal.SIGTERM,
        )
        self.socket = self._server.sockets / SOCKET
        try:
            with closing(self._connect()) as connection:
                connection.cursor().execute(f"CREATE DATABASE IF NOT EXISTS {DATABASE}")
        except BaseException:
            self.close()
            raise

    @staticmethod
    def missing() -> str | None:
        """What has to be installed; None when nothing."""
        if find_program("mariadbd") is None or find_program("mariadb-install-db") is None:
            return "no MariaDB server: apt-get install mariadb-server-core mariadb-client-core"
        if importlib.util.find_spec("MySQLdb") is None:
            return (
                "no Python module MySQLdb: apt-get install libmariadb-dev pkg-config, then "
                "pip install 'aurora-engine[mariadb]'"
            )
        return None

    @staticmethod
    def version() -> str:
        """Versions of the server and of the driver."""
        return f"{server_version()}, mysqlclient {package_version('mysqlclient')}"

    def connect(self) -> Any:
        """A new connection of the driver, in autocommit mode.

        It counts the rows that a change has found, and not only those that are another now.
        """
        return self._connect(database=DATABASE, client_flag=CLIENT.FOUND_ROWS)

    def _connect(self, **options: Any) -> Any:
        return MySQLdb.connect(unix_socket=str(self.socket), user=USER, autocommit=True, **options)

    def processes(self) -> list[int]:
        """Ids of the server's processes."""
        return self._server.processes()

    def close(self) -> None:
        """Stops the server."""
        self._server.close()


def prepared(cursor: Any, sql: str, name: str) -> Callable[[Sequence[Any]], Any]:
    """Prepares a statement in the server; returns what executes it, in one round trip.

    mysqlclient has no prepared statements of its own, and MariaDB's own driver, which has, prepares
    again for every execution and takes half as much processor again, on both sides.
    """
    cursor.execute(f"PREPARE {name} FROM %s", (sql,))
    marks = ", ".join(["%s"] * sql.count("?"))
    execution, execute = f"EXECUTE {name}" + (f" USING {marks}" if marks else ""), cursor.execute
    return lambda parameters: execute(execution, parameters)


def settle(cursor: Any, tables: Sequence[str]) -> None:
    """Makes statistics of tables, and writes what was changed of them to their files."""
    names = ", ".join(tables)
    cursor.execute(f"ANALYZE TABLE {names}")
    cursor.fetchall()
    # Else the pages of a load are written while something else is measured.
    cursor.execute(f"FLUSH TABLES {names} FOR EXPORT")
    cursor.execute("UNLOCK TABLES")


def is_clash(error: Exception) -> bool:
    """Whether a transaction failed only because of others."""
    clashes = {LOCK_WAIT_TIMEOUT, DEADLOCK, CHANGED_SINCE_READ}
    return isinstance(error, MySQLdb.OperationalError) and error.args[0] in clashes


def _program(name: str) -> Path:
    found = find_program(name)
    assert found is not None, f"{name} has been looked for"
    return found


def server_version() -> str:
    """Version of the program."""
    said = subprocess.run(
        [_program("mariadbd"), "--no-defaults", "--version"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    # "/usr/sbin/mariadbd  Ver 10.11.19-MariaDB-... for debian-linux-gnu on x86_64 (...)"
    return "MariaDB " + said.partition("Ver ")[2].partition(" ")[0]


def _initialize(data: Path) -> None:
    run_as_nobody(
        [
            _program("mariadb-install-db"),
            "--no-defaults",
            f"--datadir={data}",
            "--auth-root-authentication-method=normal",
            "--skip-test-db",
            "--skip-name-resolve",
        ],
        data.parent,
    )


def _command(data: Path, name: Path, cache_bytes: int) -> list[str | Path]:
    chosen = settings(cache_bytes).items()
    options = [f"--{option}={value}" if value else f"--{option}" for option, value in chosen]
    return [
        _program("mariadbd"),
        "--no-defaults",
        f"--datadir={data}",
        f"--socket={name}",
        f"--pid-file={name.with_suffix('.pid')}",
        *options,
    ]


def _answers(name: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as door:
        return door.connect_ex(str(name)) == 0
