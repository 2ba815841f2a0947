"""A plugin of pytest that gives SQLAlchemy's suite a volume, and empties it when the suite asks.

``AURORA_SUITE_VOLUME`` is where; the proof that it was used goes to ``counts.json`` beside it.
Without, the suite runs with stock SQLite, which then does not sync, only to be done sooner.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from sqlalchemy import event
from sqlalchemy.dialects.sqlite.provision import (
    post_configure_testing_engine,
    stop_test_class_outside_fixtures,
    temp_table_keyword_args,
    upsert,
)
from sqlalchemy.engine import Engine
from sqlalchemy.testing.provision import generate_driver_url, post_configure_engine

import aurora_engine as aurora

VOLUME = os.environ.get("AURORA_SUITE_VOLUME")
SCHEMA = "test_schema"

# Open all the time: otherwise the last connection closes it, and the next one opens it again.
db = aurora.open(VOLUME, topology=aurora.Topology.single()) if VOLUME else None


def pytest_unconfigure(config: Any) -> None:
    if db is not None:
        counts = db.sql.counts()
        found = {name: getattr(counts, name) for name in ("opened", "reads", "writes", "commits")}
        (Path(VOLUME).parent / "counts.json").write_text(json.dumps(found))
        db.close()


if db is None:

    @event.listens_for(Engine, "connect")
    def do_not_sync(connection: Any, record: Any) -> None:
        connection.execute("PRAGMA synchronous=OFF")


@generate_driver_url.for_db("aurora")
def _driver_url(url: Any, driver: str, query: str) -> Any:
    return url


@post_configure_engine.for_db("aurora")
def _attach(url: Any, engine: Any, follower: str | None) -> None:
    """As for files of SQLite: a second database as a schema, and both are gone with the engine."""

    @event.listens_for(engine, "connect")
    def attach(connection: Any, record: Any) -> None:
        connection.execute(f"ATTACH DATABASE '{SCHEMA}' AS {SCHEMA}")

    @event.listens_for(engine, "engine_disposed")
    def drop(engine: Any) -> None:
        for name in db.sql.names():
            db.sql.drop(name)


# What else SQLAlchemy's suite must know of a database is as with SQLite.
for hook in (
    post_configure_testing_engine,
    stop_test_class_outside_fixtures,
    temp_table_keyword_args,
    upsert,
):
    hook.fns["aurora"] = hook.fns["sqlite"]
