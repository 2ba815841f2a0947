"""CPython's own tests of `sqlite3`, run twice: as they are, and in databases of a volume.

What differs is in the table below with its reason; a difference that is not there fails, and so
does an entry that no longer differs. A test that another version of Python does not have is no
entry there.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.compat.cpython_suite import SUITE

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 300

PAGES = "a database in memory has other pages than the volume, and backup copies pages"
NO_FOLDER = "another process finds a note at the path, and the volume belongs to this one"
FIRST_COMMIT = "a database is there from its first commit on, not when it is opened"
DESERIALIZE = "the volume's database would go on as one in memory, so it is refused"
LINE = "a DeprecationWarning of the driver's names the line in our wrapper that calls it"
POSITIONS = "the stand-in takes any number of positional arguments without a warning"

DIFFERENCES = {
    "test_backup.BackupTests.test_database_source_name": PAGES,
    "test_backup.BackupTests.test_modifying_progress": (
        "as with stock SQLite's files, what the source writes goes into the copy under way; only "
        "with a source in memory the copy begins anew"
    ),
    "test_dbapi.MultiprocessTests.test_ctx_mgr_rollback_if_commit_failed": NO_FOLDER,
    "test_dbapi.OpenTests.test_open_uri_readonly": FIRST_COMMIT,
    "test_dbapi.SerializeTests.test_deserialize_corrupt_database": DESERIALIZE,
    "test_dbapi.SerializeTests.test_deserialize_wrong_args": DESERIALIZE,
    "test_dbapi.SerializeTests.test_serialize_deserialize": DESERIALIZE,
}
if sys.version_info >= (3, 12):
    DIFFERENCES |= {
        "test_dbapi.CursorTests.test_execute_named_param_and_sequence": LINE,
        "test_types.DateTimeTests.test_sqlite_date": LINE,
        "test_types.DateTimeTests.test_sqlite_timestamp": LINE,
    }
if sys.version_info >= (3, 13):
    DIFFERENCES |= {
        "test_dbapi.ConnectionTests.test_connect_positional_arguments": POSITIONS,
        "test_factory.ConnectionFactoryTests.test_connection_factory_as_positional_arg": POSITIONS,
    }

# How much of the suite must have been at work in the volume.
USED_AT_LEAST = 0.9
COMMITS_AT_LEAST = 400


def has_suite() -> bool:
    try:
        return importlib.util.find_spec(SUITE) is not None
    except ModuleNotFoundError:
        return False


def start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    folder.mkdir()
    return subprocess.Popen(
        [sys.executable, "-m", "tests.compat.cpython_suite", *arguments],
        cwd=folder,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


def result_of(process: subprocess.Popen[str]) -> dict[str, Any]:
    output, _ = process.communicate(timeout=SECONDS)
    assert process.returncode == 0
    found: dict[str, Any] = json.loads(output)
    return found


@pytest.mark.skipif(
    not has_suite(), reason=f"this Python comes without {SUITE}: tools/install_system.sh test"
)
def test_only_what_is_explained_differs(tmp_path: Path) -> None:
    as_it_is = start(tmp_path / "stock")
    in_a_volume = start(tmp_path / "ours", str(tmp_path / "volume"))
    stock, ours = result_of(as_it_is), result_of(in_a_volume)
    tests = ours["tests"]
    assert stock["tests"].keys() == tests.keys()

    differing = {
        name.removeprefix(f"{SUITE}."): found["why"]
        for name, found in tests.items()
        if found["outcome"] != stock["tests"][name]["outcome"]
    }
    unexplained = sorted(differing.keys() - DIFFERENCES.keys())
    assert not unexplained, "\n\n".join(f"{name}: {differing[name]}" for name in unexplained)
    agreeing = sorted(DIFFERENCES.keys() - differing.keys())
    assert not agreeing, f"listed, but as with stock SQLite: {agreeing}"

    ran = [found for found in tests.values() if found["outcome"] != "skipped"]
    used = sum(found["used"] for found in ran)
    print(f"{len(ran)} tests, {used} of them in the volume; {len(differing)} differ")
    assert used >= USED_AT_LEAST * len(ran)
    assert ours["commits"] >= COMMITS_AT_LEAST
    assert ours["reads"] > 0
    assert ours["writes"] > 0
