"""A Django project in one file; tried by the test beside it in a process of its own.

Usage: ``python -m tests.compat.django_project VOLUME migrate|rows|threads|suite``; what ``suite``
runs are the tests at the end of this file, as ``manage.py test`` does.
"""

from __future__ import annotations

import sys
import threading

import django
from django.conf import settings
from django.test.utils import get_runner

if not settings.configured:
    settings.configure(
        DATABASES={
            "default": {
                "ENGINE": "aurora_engine.sql.django",
                "NAME": sys.argv[1],
                "OPTIONS": {"name": "site", "timeout": 20},
            },
            "orders": {"ENGINE": "aurora_engine.sql.django", "NAME": f"{sys.argv[1]}?name=orders"},
        },
        INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes"],
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        USE_TZ=True,
    )
    django.setup()

from django.contrib.auth.models import Group, User
from django.core.management import call_command
from django.db import DatabaseError, IntegrityError, connection, connections, transaction
from django.db.models import Count, F
from django.test import TestCase, TransactionTestCase

from aurora_engine import AuroraError


def migrate() -> None:
    """Tables are made, in both databases; nothing is left to migrate, nor differs from models."""
    for alias in connections:
        call_command("migrate", database=alias, verbosity=0)
        call_command("migrate", database=alias, check_unapplied=True, verbosity=0)
    call_command("check", databases=["default", "orders"])
    call_command("makemigrations", check_changes=True, verbosity=0)
    connection.ensure_connection()
    names = connection.connection.database.sql.names()
    assert names == ["orders", "site"], names
    assert "auth_user" in connection.introspection.table_names()


def rows() -> None:
    """Objects and queries, transactions and savepoints, constraints, both databases."""
    ada = User.objects.create(username="ada", first_name="Ada")
    group = Group.objects.create(name="engines")
    group.user_set.add(ada)
    User.objects.bulk_create(User(username=f"user {number}") for number in range(500))
    assert User.objects.filter(username__regex="^user [0-9]$").count() == 10
    assert Group.objects.annotate(size=Count("user")).get().size == 1
    User.objects.filter(pk=ada.pk).update(first_name=F("username"))
    ada.refresh_from_db()
    assert ada.first_name == "ada"
    assert ada.date_joined.tzinfo is not None

    try:
        with transaction.atomic():
            ada.delete()
            raise LookupError
    except LookupError:
        pass
    with transaction.atomic():
        Group.objects.create(name="kept")
        try:
            with transaction.atomic():
                Group.objects.create(name="dropped")
                User.objects.create(username="ada")
        except IntegrityError:
            pass
    assert sorted(Group.objects.values_list("name", flat=True)) == ["engines", "kept"]
    assert User.objects.filter(username="ada").exists()

    assert User.objects.using("orders").count() == 0
    User.objects.using("orders").create(username="elsewhere")
    assert not User.objects.filter(username="elsewhere").exists()

    with connection.cursor() as cursor:
        cursor.execute("SELECT aurora_lsn() > 0, %s", ["a parameter"])
        assert cursor.fetchone() == (1, "a parameter")
    assert connection.connection.database.sql.counts().commits >= 7


def threads() -> None:
    """Read and write in one transaction, by many at once: nobody fails, nothing is lost."""
    count, each = 8, 20
    Group.objects.filter(name="0").delete()
    Group.objects.create(name="0")
    failures: list[BaseException] = []

    def add() -> None:
        try:
            for _ in range(each):
                with transaction.atomic():
                    group = Group.objects.exclude(name__in=["engines", "kept"]).get()
                    group.name = str(int(group.name) + 1)
                    group.save()
        except BaseException as failure:
            failures.append(failure)
        finally:
            connection.close()

    workers = [threading.Thread(target=add) for _ in range(count)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not failures, failures
    assert Group.objects.filter(name=str(count * each)).exists()

    # What the engine says reaches whoever catches Django's errors.
    connection.connection.database.close()
    try:
        Group.objects.count()
    except DatabaseError as failure:
        assert isinstance(failure.__cause__, AuroraError), failure
    else:
        raise AssertionError("the volume was closed")
    connection.close()
    assert Group.objects.filter(name=str(count * each)).exists()


def suite() -> None:
    runner = get_runner(settings)(verbosity=0, interactive=False)
    # Twice, since the first leaves nothing that is in the second one's way.
    for _ in range(2):
        assert runner.run_tests(["tests.compat.django_project"]) == 0
    connection.ensure_connection()
    assert connection.connection.database.sql.names() == ["orders", "site"]


class InTransactions(TestCase):
    """Each of its tests is in a transaction that is rolled back."""

    databases = frozenset({"default", "orders"})

    def test_where(self) -> None:
        assert connection.connection.name == "test_site"
        assert User.objects.count() == 0
        User.objects.create(username="one")
        connections["orders"].ensure_connection()
        assert connections["orders"].connection.name == "test_orders"

    def test_where_again(self) -> None:
        self.test_where()


class Flushed(TransactionTestCase):
    """The tables are emptied after each of its tests, and threads see what it commits."""

    def test_threads_see_it(self) -> None:
        assert User.objects.count() == 0
        User.objects.create(username="one")
        seen: list[int] = []

        def look() -> None:
            seen.append(User.objects.count())
            connection.close()

        thread = threading.Thread(target=look)
        thread.start()
        thread.join()
        assert seen == [1]

    test_threads_see_it_again = test_threads_see_it


if __name__ == "__main__":
    {"migrate": migrate, "rows": rows, "threads": threads, "suite": suite}[sys.argv[2]]()
