"""Errors of the engine that reach the caller through SQLite, which knows only codes."""

from __future__ import annotations

import sqlite3
from typing import Any, cast

from aurora_engine._ext.records import SqlState
from aurora_engine.errors import AuroraError

__all__: list[str] = []

PRIMARY_CODE = 0xFF
FILE_CODES = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_CANTOPEN,
    }
)
"""What SQLite is told by files. All else it finds by itself."""
NOT_A_NEW_FILE = "output file already exists"
"""All that SQLite says of a target of VACUUM INTO that is refused, as an error of the statement."""

_merged_classes: dict[tuple[type[Exception], type[sqlite3.Error]], type[Any]] = {}


def _merged(ours: type[Exception], theirs: type[sqlite3.Error]) -> type[Any]:
    """A class that is caught as either."""
    merged = _merged_classes.get((ours, theirs))
    if merged is None:
        body = {"__module__": ours.__module__, "__doc__": ours.__doc__}
        merged = _merged_classes.setdefault(
            (ours, theirs), type(ours.__name__, (ours, theirs), body)
        )
    return merged


def explained(failure: sqlite3.Error, state: SqlState) -> sqlite3.Error:
    """What a driver's error really was, as an error of both; `failure` itself if there is no more.

    A commit that failed while it was on its way is ``in_doubt``, and ``lsn`` tells which one to
    ask about later.
    """
    if state.error is None or not _is_of_a_file(failure):
        return failure
    told: Any = with_cause(failure, state.error)
    if state.in_doubt:
        told.in_doubt = True
        told.lsn = state.in_doubt
    return cast("sqlite3.Error", told)


def _is_of_a_file(failure: sqlite3.Error) -> bool:
    """Whether it can be what a file has told SQLite last: that may have been told already.

    By whom does not come this way, such as a blob; and other drivers do not tell the code.
    """
    code = getattr(failure, "sqlite_errorcode", sqlite3.SQLITE_IOERR)
    return code & PRIMARY_CODE in FILE_CODES or str(failure) == NOT_A_NEW_FILE


def with_cause(failure: sqlite3.Error, cause: Exception) -> sqlite3.Error:
    """A driver's error that is one of ours as well, or has a note of what it was."""
    if isinstance(cause, AuroraError):
        return as_both(cause, failure)
    failure.add_note(str(cause))
    return failure


def as_both(cause: AuroraError, failure: sqlite3.Error) -> sqlite3.Error:
    """An error that is caught as either of two."""
    merged: Any = _merged(type(cause), type(failure))(f"{failure}: {cause}")
    for name in ("sqlite_errorcode", "sqlite_errorname"):
        if hasattr(failure, name):
            setattr(merged, name, getattr(failure, name))
    for name in ("group", "copy", "file", "offset", "lsn"):
        setattr(merged, name, getattr(cause, name))
    return cast("sqlite3.Error", merged)
