"""Errors of the engine that reach the caller through SQLite, which knows only codes."""

from __future__ import annotations

import sqlite3
from typing import Any

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
    merged: Any = _merged(type(cause), type(failure))(f"{failure}: {cause}")
    for name in ("sqlite_errorcode", "sqlite_errorname"):
        if hasattr(failure, name):
            setattr(merged, name, getattr(failure, name))
    for name in ("group", "copy", "file", "offset", "lsn"):
        setattr(merged, name, getattr(cause, name))
    if state.in_doubt:
        merged.in_doubt = True
        merged.lsn = state.in_doubt
    told: sqlite3.Error = merged
    return told
