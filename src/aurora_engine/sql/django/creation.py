"""Databases for Django's tests: others in the same volume."""

from __future__ import annotations

import sys
from typing import Any

from django.db.backends.base.creation import BaseDatabaseCreation
from django.db.utils import NotSupportedError

from aurora_engine import sql
from aurora_engine.sql.django.names import joined_name, split_name

__all__: list[str] = []


class DatabaseCreation(BaseDatabaseCreation):
    """Makes and drops test databases: ``TEST["NAME"]``, or ``test_`` and the name."""

    @staticmethod
    def is_in_memory_db(database_name: Any) -> bool:
        """Never: it is in the volume."""
        return False

    def _get_test_db_name(self) -> str:
        path, name = split_name(self.connection.settings_dict)
        return joined_name(path, self.connection.settings_dict["TEST"]["NAME"] or f"test_{name}")

    def _create_test_db(self, verbosity: int, autoclobber: bool, keepdb: bool = False) -> str:
        full_name = self._get_test_db_name()
        if not keepdb and self._exists(full_name):
            if not autoclobber:
                self._ask(full_name)
            if verbosity >= 1:
                self.log(f"Destroying old test database for alias {self.connection.alias!r}...")
            self._destroy_test_db(full_name, verbosity)
        # Made with its first commit.
        return full_name

    def _exists(self, full_name: str) -> bool:
        path, name = split_name({"NAME": full_name})
        with sql.connect(path, name=name) as conn:
            found = name in conn.database.sql.names()
        conn.close()
        return found

    def _ask(self, full_name: str) -> None:
        answer = input(f"Type 'yes' to delete the test database {full_name!r}, or 'no' to cancel: ")
        if answer != "yes":
            self.log("Tests cancelled.")
            sys.exit(1)

    def _destroy_test_db(self, test_database_name: str, verbosity: int) -> None:
        path, name = split_name({"NAME": test_database_name})
        conn = sql.connect(path, name=name)
        try:
            if name in conn.database.sql.names():
                conn.database.sql.drop(name)
        finally:
            conn.close()

    def _clone_test_db(self, suffix: str, verbosity: int, keepdb: bool = False) -> None:
        raise NotSupportedError("a volume belongs to one process: run the tests without --parallel")

    def test_db_signature(self) -> tuple[str, ...]:
        """The same for two aliases if and only if they mean the same test database."""
        return (self._get_test_db_name(),)
