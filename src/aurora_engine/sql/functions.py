"""SQL functions of every connection: where it stands, and going back."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC
from typing import TYPE_CHECKING, Any

from aurora_engine.errors import ReadOnlyError
from aurora_engine.moments import parse_moment

if TYPE_CHECKING:
    from aurora_engine.sql.connection import ConnectionVerbs

__all__: list[str] = []


FUNCTION_RAISED = "user-defined function raised exception"
"""All that the driver says of it."""


class Raised:
    """What a function of ours raised last, which the driver does not tell."""

    def __init__(self) -> None:
        self._failure: Exception | None = None

    def kept(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, with what it raises kept."""

        def called(*arguments: Any) -> Any:
            self._failure = None
            try:
                return function(*arguments)
            except Exception as failure:
                self._failure = failure
                raise

        return called

    def take(self, told: Exception) -> Exception | None:
        """The reason of what the driver has told, if a function of ours is it. Told once."""
        failure, self._failure = self._failure, None
        return failure if str(told) == FUNCTION_RAISED else None


def install_functions(connection: ConnectionVerbs, raised: Raised, *, read_only: bool) -> None:
    """Adds aurora_lsn(), aurora_time(), aurora_backtrack(moment) and aurora_history()."""
    # Not the connection itself, which would then never be freed.
    database, number = connection.database, connection._id

    def lsn() -> int:
        return database.sql.moment(number)

    def time() -> str:
        then = database.moment_time(lsn()).astimezone(UTC)
        return then.strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]

    def backtrack(moment: Any) -> int:
        if read_only:
            raise ReadOnlyError("a connection that only reads cannot go back for all others")
        to = parse_moment(moment) if isinstance(moment, str) else moment
        return database.backtrack(to).undo_lsn

    add: Any = connection
    add.create_function("aurora_lsn", 0, raised.kept(lsn))
    add.create_function("aurora_time", 0, raised.kept(time))
    add.create_function("aurora_backtrack", 1, raised.kept(backtrack))
    database.sql.add_tables(number)
