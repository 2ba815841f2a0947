"""The examples in the docstrings run, and every public name is documented and typed."""

from __future__ import annotations

import doctest
import importlib
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import aurora_engine as aurora

MODULES = [
    "aurora_engine",
    "aurora_engine.database",
    "aurora_engine.options",
    "aurora_engine.sql",
    "aurora_engine.sql.connection",
    "aurora_engine.sql.sqlalchemy",
]


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name: str, tmp_path: Path) -> None:
    module = importlib.import_module(name)
    tried = 0
    for number, example in enumerate(doctest.DocTestFinder(exclude_empty=True).find(module)):
        example.globs["path"] = tmp_path / str(number)
        result = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(example)
        tried += result.attempted
        assert result.failed == 0, example.name
    assert tried > 0


def test_every_public_name_is_documented() -> None:
    assert set(aurora.__all__) <= set(dir(aurora))
    for name in set(aurora.__all__) - {"__version__"}:
        thing = getattr(aurora, name)
        assert inspect.getdoc(thing), name
        if inspect.isclass(thing):
            for verb, member in inspect.getmembers(thing):
                if (
                    not verb.startswith("_")
                    and callable(member)
                    and thing.__module__.startswith("aurora")
                ):
                    assert inspect.getdoc(member), f"{name}.{verb}"


def test_the_import_is_quick_and_brings_nothing_big() -> None:
    program = (
        "import sys, time; start = time.process_time(); import aurora_engine; "
        "big = {'numpy', 'click', 'rich', 'asyncio'} & set(sys.modules); "
        "print(time.process_time() - start, *big)"
    )
    runs = [
        subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, check=True
        ).stdout.split()
        for _ in range(5)
    ]
    assert all(len(run) == 1 for run in runs), runs
    # The best of five, in processor time, since the machine also does other things.
    assert min(float(run[0]) for run in runs) < 0.1


def test_version_and_logging() -> None:
    import logging

    assert aurora.__version__.count(".") >= 2
    assert logging.getLogger("aurora_engine").handlers
    with pytest.raises(AttributeError):
        aurora.nothing  # noqa: B018
