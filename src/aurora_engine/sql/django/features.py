"""What the backend can do that Django's for SQLite cannot, and the other way round."""

from __future__ import annotations

from django.db.backends.sqlite3 import features

__all__: list[str] = []


class DatabaseFeatures(features.DatabaseFeatures):
    """Test databases are in the volume: every connection sees them, but no other process."""

    test_db_allows_multiple_connections = True
    can_clone_databases = False
