"""Use an installed aurora_engine once: keys, SQL, reopening, and the command line.

Run it with ``python -I``, so that the checkout is not on the path: what is tried is what was
installed. Needs nothing but the package.
"""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
import sysconfig
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import Any


def use_sql(aurora: Any, path: Path) -> None:
    """The VFS finds its way into the SQLite of this Python."""
    connection = aurora.connect(path, name="smoke")
    connection.execute("CREATE TABLE t (x INTEGER)")
    connection.executemany("INSERT INTO t VALUES (?)", ((x,) for x in range(1000)))
    connection.commit()
    before = connection.lsn
    connection.execute("DELETE FROM t")
    connection.commit()
    with closing(connection.at(before)) as then:
        assert then.execute("SELECT count(*), sum(x) FROM t").fetchone() == (1000, 499500)
    assert connection.execute("SELECT count(*) FROM t").fetchone() == (0,)
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()


def main() -> int:
    started = time.perf_counter()
    import aurora_engine as aurora

    import_ms = (time.perf_counter() - started) * 1e3
    package = Path(aurora.__file__).resolve()
    checkout = Path(__file__).resolve().parent.parent
    if checkout / "src" in package.parents:
        print(f"imported from the checkout, not installed: {package}", file=sys.stderr)
        return 1
    if not (package.parent / "py.typed").is_file():
        print("py.typed is missing: type checkers will ignore the annotations", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "smoke"
        with aurora.open(path) as db:
            db.put(b"key", b"value")
            with db.begin() as txn:
                for number in range(1000):
                    txn.put(b"row-%04d" % number, b"x" * number)
            assert db.get(b"key") == b"value"
        with aurora.open(path, create=False) as db:
            assert db.get(b"key") == b"value"
            assert len(db) == 1001
            rows = list(db.scan(prefix=b"row-", limit=3))
            assert [key for key, _ in rows] == [b"row-0000", b"row-0001", b"row-0002"], rows
        use_sql(aurora, path)
        command = Path(sysconfig.get_path("scripts")) / "aurora-engine"
        output = subprocess.run(
            [str(command), "get", str(path), "key"], check=True, capture_output=True, text=True
        ).stdout
        assert output.strip() == "value", output
    version = importlib.metadata.version("aurora-engine")
    print(f"aurora-engine {version} works on {sys.version.split()[0]}, import {import_ms:.0f} ms")
    return 0


if __name__ == "__main__":
    sys.exit(main())
