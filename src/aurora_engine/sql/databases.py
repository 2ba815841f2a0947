"""The SQL databases of an opened volume."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from aurora_engine._ext.sql import Sql
from aurora_engine.moments import parse_moment

if TYPE_CHECKING:
    from aurora_engine._ext.engine import Engine
    from aurora_engine._ext.records import SqlCounts, SqlState
    from aurora_engine.volume import Volume

__all__ = ["SqlDatabases"]

DROP_TIMEOUT_S = 5.0
FOR_EVER_S = 1e9


def milliseconds(timeout: float) -> int:
    """A timeout in seconds, which may be infinite, as the core takes it."""
    return round(max(0.0, min(timeout, FOR_EVER_S)) * 1000)


class SqlDatabases:
    """The SQL databases of a volume, by name; from `Database.sql`.

    They stand beside the tables of keys and values, and beside each other: all of them are in each
    copy, clone and backtrack, and none is in another's way. A transaction writes keys and values,
    or SQL.
    """

    def __init__(self, engine: Engine, volume: Volume) -> None:
        self._engine = engine
        past = volume.past
        self._sql = Sql(
            engine,
            lambda text: past.resolve(parse_moment(text)),
            lambda: past.history.backtracks,
        )

    def names(self) -> list[str]:
        """Names of the databases, in order."""
        return list(self._names())

    def _names(self) -> Iterator[str]:
        name = self._sql.next_name("")
        while name is not None:
            yield name
            name = self._sql.next_name(name)

    def drop(self, name: str, *, timeout: float = DROP_TIMEOUT_S) -> None:
        """Removes a database with all that is in it. Its past stays in reach.

        Parameters
        ----------
        name : str
            The database.
        timeout : float
            Seconds to wait for who writes it.

        Raises
        ------
        KeyError
            If there is none of that name.
        TimeoutError
            If somebody kept on writing it.
        """
        lsn = self._sql.drop(name, milliseconds(timeout))
        if lsn is None:
            raise KeyError(name)
        self._engine.wait_durable(lsn)

    def counts(self) -> SqlCounts:
        """What was asked of them since the volume was opened."""
        return self._sql.counts()

    # ---- for connections ----

    def register(self, library: str) -> str:
        """Registers the volume's VFS in a SQLite library; its name."""
        return self._sql.register(library)

    def opened(self) -> int:
        """The newest connection of this thread."""
        return self._sql.opened()

    def set_wait(self, connection: int, wait: bool) -> bool:
        """Whether COMMIT waits until it is durable; returns whether it did."""
        return self._sql.set_wait(connection, wait)

    def set_timeout(self, connection: int, timeout_ms: int) -> None:
        """How long a connection waits for the right to write."""
        self._sql.set_timeout(connection, timeout_ms)

    def interrupt(self, connection: int) -> None:
        """Ends a connection's wait for the right to write, if it waits now."""
        self._sql.interrupt(connection)

    def add_tables(self, connection: int) -> None:
        """Adds ``aurora_history()`` to a connection."""
        self._sql.add_tables(connection)

    def state(self, connection: int) -> SqlState:
        """Where a connection stands."""
        state = self._sql.take_state(connection)
        thread_error = self._sql.thread_error()
        return state if state.error else state._replace(error=thread_error)

    def moment(self, connection: int) -> int:
        """The LSN that a connection reads at, or, between transactions, the newest it could."""
        state = self._sql.take_state(connection)
        return state.read_point or max(state.last_commit, self._engine.durable_lsn)

    def thread_error(self) -> Exception | None:
        """Why this thread could not open a database last, or could not commit; told once."""
        return self._sql.thread_error()
