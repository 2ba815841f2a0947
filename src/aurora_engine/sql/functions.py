"""SQL functions of every connection: where it stands, and going back."""

from __future__ import annotations

from datetime import UTC
from typing import TYPE_CHECKING, Any

from aurora_engine.moments import parse_moment

if TYPE_CHECKING:
    from aurora_engine.sql.connection import ConnectionVerbs

__all__: list[str] = []


def install_functions(connection: ConnectionVerbs) -> None:
    """Adds aurora_lsn(), aurora_time(), aurora_backtrack(moment) and aurora_history()."""
    # Not the connection itself, which would then never be freed.
    database, number = connection.database, connection._id

    def lsn() -> int:
        return database.sql.moment(number)

    def time() -> str:
        then = database.moment_time(lsn()).astimezone(UTC)
        return then.strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]

    def backtrack(moment: Any) -> int:
        to = parse_moment(moment) if isinstance(moment, str) else moment
        return database.backtrack(to).undo_lsn

    add: Any = connection
    add.create_function("aurora_lsn", 0, lsn)
    add.create_function("aurora_time", 0, time)
    add.create_function("aurora_backtrack", 1, backtrack)
    database.sql.add_tables(number)
