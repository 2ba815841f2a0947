"""Errors of the engine that reach the caller through SQLite, which knows only codes."""

from __future__ import annotations

import sqlite3
from typing import Any, cast

from aurora_engine._ext.records import SqlState
from aurora_engine.errors import AuroraError

__all__: list[str] = []


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
    cause = state.error
    if cause is None:
        return failure
    if not isinstance(cause, AuroraError):
        failure.add_note(str(cause))
        return failure
    told: Any = as_both(cause, failure)
    if state.in_doubt:
        told.in_doubt = True
        told.lsn = state.in_doubt
    return cast("sqlite3.Error", told)


def as_both(cause: AuroraError, failure: sqlite3.Error) -> sqlite3.Error:
    """An error that is caught as either of two."""
    merged: Any = _merged(type(cause), type(failure))(f"{failure}: {cause}")
    for name in ("sqlite_errorcode", "sqlite_errorname"):
        if hasattr(failure, name):
            setattr(merged, name, getattr(failure, name))
    for name in ("group", "copy", "file", "offset", "lsn"):
        setattr(merged, name, getattr(cause, name))
    return cast("sqlite3.Error", merged)
