"""The servers driven by programs in C: sysbench, and PostgreSQL's own pgbench.

They work on the same tables as the Python clients do, made by the same code. What such a program
says is taken as it says it, over whole seconds.
"""

from __future__ import annotations

import math
import re
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path

from aurora_engine.bench.counters import measured
from aurora_engine.bench.sample import Sample
from aurora_engine.bench.servers import mariadb, postgresql
from aurora_engine.bench.servers.process import ServerFailedError, find_program
from aurora_engine.bench.sql.mariadb_sql import Mariadb
from aurora_engine.bench.sql.postgresql_sql import Postgresql
from aurora_engine.bench.workloads.base import Bench

__all__ = ["MariadbNative", "PostgresqlNative", "RunsSysbench"]

PGBENCH_THREADS = 2


class RunsSysbench(ABC):
    """A server that sysbench knows."""

    @abstractmethod
    def _sysbench_options(self) -> list[str]:
        """How sysbench reaches it."""

    def sysbench(self, bench: Bench, script: str, clients: int, tables: int) -> Sample:
        """One run of a script; transactions that clashed and were done again are `retries`."""
        command = [
            "sysbench",
            f"oltp_{script}",
            *self._sysbench_options(),
            f"--tables={tables}",
            f"--table-size={bench.sizes.sysbench_rows}",
            f"--threads={clients}",
            f"--time={math.ceil(bench.sizes.seconds)}",
            f"--rand-seed={bench.seed()}",
            "run",
        ]
        return _measured_run(
            bench,
            command,
            count=r"transactions:\s+(\d+)\s",
            rate=r"transactions:\s+\d+\s+\(([\d.]+) per sec",
            retries=r"ignored errors:\s+(\d+)\s",
        )


class MariadbNative(RunsSysbench, Mariadb):
    """MariaDB, driven by sysbench."""

    name = "mariadb-c"
    workloads = frozenset({"sysbench"})

    @classmethod
    def missing(cls) -> str | None:
        return super().missing() or _sysbench_missing()

    @classmethod
    def version(cls) -> str:
        return f"{mariadb.server_version()}, {_version_of('sysbench')}"

    def _sysbench_options(self) -> list[str]:
        return [
            "--db-driver=mysql",
            f"--mysql-socket={self.server.socket}",
            f"--mysql-user={mariadb.USER}",
            f"--mysql-db={mariadb.DATABASE}",
        ]


class PostgresqlNative(RunsSysbench, Postgresql):
    """PostgreSQL, driven by sysbench and by pgbench."""

    name = "postgresql-c"
    workloads = frozenset({"sysbench", "tpcb"})

    @classmethod
    def missing(cls) -> str | None:
        return super().missing() or _sysbench_missing()

    @classmethod
    def version(cls) -> str:
        programs = f"{_version_of('sysbench')}, {_version_of(postgresql.program('pgbench'))}"
        return f"{postgresql.server_version()}, {programs}"

    def _sysbench_options(self) -> list[str]:
        return [
            "--db-driver=pgsql",
            f"--pgsql-host={self.server.sockets}",
            f"--pgsql-port={postgresql.PORT}",
            f"--pgsql-user={postgresql.USER}",
            f"--pgsql-db={postgresql.DATABASE}",
        ]

    def pgbench(self, bench: Bench, clients: int) -> Sample:
        """One run of the default script, prepared, on tables that stay as they are."""
        command: list[str | Path] = [
            postgresql.program("pgbench"),
            "--no-vacuum",
            "--protocol=prepared",
            f"--client={clients}",
            f"--jobs={min(clients, PGBENCH_THREADS)}",
            f"--time={math.ceil(bench.sizes.seconds)}",
            f"--random-seed={bench.seed()}",
            f"--host={self.server.sockets}",
            f"--port={postgresql.PORT}",
            f"--username={postgresql.USER}",
            postgresql.DATABASE,
        ]
        return _measured_run(
            bench,
            command,
            count=r"transactions actually processed: (\d+)",
            rate=r"tps = ([\d.]+)",
            retries=r"number of failed transactions: (\d+)",
        )


def _sysbench_missing() -> str | None:
    return None if find_program("sysbench") else "no sysbench: apt-get install sysbench"


def _version_of(program: str | Path) -> str:
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=True)
    return said.stdout.strip()


def _measured_run(
    bench: Bench, command: Sequence[str | Path], *, count: str, rate: str, retries: str
) -> Sample:
    """Runs a program to its end and finds three numbers in what it says."""
    with measured(bench.folder, bench.server.processes()) as usage:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
    done_at, counted, again = (re.search(each, done.stdout) for each in (rate, count, retries))
    if done.returncode or not done_at or not counted:
        raise ServerFailedError(f"{command[0]} ended with {done.returncode}: {done.stdout[-2000:]}")
    # pgbench says so from version 15 on.
    details = {"operations": float(counted[1]), "retries": float(again[1]) if again else 0.0}
    return Sample(float(done_at[1]), {}, usage, details)
