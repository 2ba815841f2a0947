"""What an engine offers to the SQL workloads."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

from aurora_engine.bench.engines.base import Server
from aurora_engine.bench.servers.clashes import until_through

__all__ = ["Client", "Connection", "Dialect", "Parameters", "Row", "SqlEngine"]

T = TypeVar("T")

Parameters = Sequence[Any]
Row = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Dialect:
    """Where the engines want other words for the same thing.

    Attributes
    ----------
    serial : str
        Type and constraint of a whole number that is the primary key, and is counted up where an
        insert does not give it.
    clustered : str
        After the columns of a table: that its rows lie in the order of its primary key.
    for_update : str
        After a SELECT: that the row will be changed by this transaction.
    """

    serial: str
    clustered: str = ""
    for_update: str = ""


@dataclass(frozen=True, slots=True)
class Connection:
    """What one thread works with: the driver's own calls, with as little as possible in between.

    Statements have ``?`` for parameters. Outside of ``begin`` and ``commit`` each is a transaction
    of its own. Whatever commits returns when that is durable.

    Attributes
    ----------
    selects, changes : callable
        ``selects(sql)`` prepares a statement; what it returns takes the parameters and returns all
        rows, or for `changes`, how many rows it found to change.
    begin, begin_reading : callable
        Begin a transaction that writes, or does not.
    commit, rollback : callable
        End it.
    close : callable
        Closes the connection.
    """

    selects: Callable[[str], Callable[[Parameters], Sequence[Row]]]
    changes: Callable[[str], Callable[[Parameters], int]]
    begin: Callable[[], object]
    begin_reading: Callable[[], object]
    commit: Callable[[], object]
    rollback: Callable[[], object]
    close: Callable[[], None]


class SqlEngine(Server):
    """An engine that understands SQL.

    Attributes
    ----------
    dialect : Dialect
        Its own words.
    """

    dialect: ClassVar[Dialect]

    @abstractmethod
    def connect(self) -> Connection:
        """What a thread works with; made and closed by that thread."""

    @abstractmethod
    def load(self, table: str, columns: Sequence[str], rows: Iterable[Row]) -> None:
        """Loads rows into a table in one transaction, by whatever is fastest."""

    @abstractmethod
    def settle(self, tables: Sequence[str]) -> None:
        """Statistics, and the end of what was left for later, after tables were loaded."""

    @classmethod
    @abstractmethod
    def is_clash(cls, error: Exception) -> bool:
        """Whether a transaction failed only because of others, so that it is to be done again."""

    def run(self, *statements: str) -> None:
        """Runs statements, each for itself."""
        connection = self.connect()
        for statement in statements:
            connection.changes(statement)(())
        connection.close()

    def ask(self, sql: str) -> Row:
        """The first row of what a statement selects."""
        connection = self.connect()
        rows = connection.selects(sql)(())
        connection.close()
        return rows[0]


class Client:
    """A connection, and how often what it did had to be done again.

    Parameters
    ----------
    engine : SqlEngine
        Gives the connection.
    """

    def __init__(self, engine: SqlEngine) -> None:
        self.connection, self.dialect = engine.connect(), engine.dialect
        self.retries = 0
        self._is_clash = engine.is_clash

    def transact(self, body: Callable[[], T]) -> T:
        """Runs a transaction until it is committed, from its beginning after every clash."""
        connection = self.connection

        def whole() -> T:
            connection.begin()
            result = body()
            connection.commit()
            return result

        return self.alone(whole)

    def read(self, body: Callable[[], T]) -> T:
        """As `transact`, of what only reads."""
        connection = self.connection

        def whole() -> T:
            connection.begin_reading()
            result = body()
            connection.commit()
            return result

        return self.alone(whole)

    def alone(self, body: Callable[[], T]) -> T:
        """Runs a statement that is a transaction of its own, again after every clash."""
        result, retries = until_through(body, self.connection.rollback, self._is_clash)
        self.retries += retries
        return result
