"""One writer at a time: the lock, its holder, and what a fork or a kill does to it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import aurora_engine as aurora

HOLD = """
import sys, aurora_engine as aurora
db = aurora.open(sys.argv[1])
print(flush=True)
sys.stdin.read()
"""


def test_second_open_in_the_same_process(tmp_path: Path) -> None:
    with aurora.open(tmp_path) as db:
        with pytest.raises(aurora.DatabaseLockedError, match=f"process {os.getpid()}"):
            aurora.open(tmp_path)
        db.put(b"k", b"v")
    with aurora.open(tmp_path) as db:
        assert db[b"k"] == b"v"


def test_second_open_in_another_process(tmp_path: Path) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        for create in (True, False):
            with pytest.raises(aurora.DatabaseLockedError, match=f"process {holder.pid} "):
                aurora.open(tmp_path, create=create)
        holder.kill()
    # The lock of a dead process holds nobody up, though its name is still in the file.
    with aurora.open(tmp_path) as db:
        db.put(b"k", b"v")


TAKE = """
import sys, aurora_engine as aurora
with aurora.open(sys.argv[1]) as db:
    db[b"second"] = b"writer"
"""


@pytest.mark.parametrize("patience_s", [0, 0.5])
def test_who_lost_the_file_of_the_lock_gives_way(tmp_path: Path, patience_s: float) -> None:
    with aurora.open(tmp_path) as first:
        first[b"first"] = b"writer"
        (tmp_path / "LOCK").unlink()
        time.sleep(patience_s)  # so that it notices by itself, or at its next write
        subprocess.run([sys.executable, "-c", TAKE, str(tmp_path)], check=True)
        with pytest.raises(aurora.FencedError, match="LOCK"):
            first.put(b"late", b"write")
        with pytest.raises(aurora.AuroraError):
            first.backtrack(to=first.durable_lsn)
        with pytest.raises(aurora.AuroraError):
            first.repair()
        with pytest.raises(aurora.FencedError):
            first.delete(b"first")
    with aurora.open(tmp_path) as db:
        assert dict(db.scan()) == {b"first": b"writer", b"second": b"writer"}
        assert db.verify().ok
        assert {segment.state for segment in db.status().segments} == {"ok"}


def test_an_open_that_fails_late_gives_the_lock_back(tmp_path: Path) -> None:
    aurora.open(tmp_path).close()
    with pytest.raises(MemoryError):
        aurora.open(tmp_path, cache_bytes=1 << 62)
    aurora.open(tmp_path).close()


def test_a_link_leads_to_the_same_lock(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "volume")
    with (
        aurora.open(tmp_path / "volume"),
        pytest.raises(aurora.DatabaseLockedError),
    ):
        aurora.open(tmp_path / "link")


def fork_sleeper() -> int:
    """A forked child that does nothing for a while."""
    child = os.fork()
    if child == 0:
        time.sleep(60)
        os._exit(0)
    return child


def test_a_forked_child_does_not_keep_the_lock(tmp_path: Path) -> None:
    """A worker that was forked while the database was open outlives its close."""
    db = aurora.open(tmp_path)
    child = fork_sleeper()
    try:
        db.close()
        with aurora.open(tmp_path) as again:
            again.put(b"k", b"v")
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def test_a_forked_child_of_a_killed_writer_does_not_keep_the_lock(tmp_path: Path) -> None:
    program = (
        "import os, sys, time, aurora_engine as aurora\n"
        "db = aurora.open(sys.argv[1])\n"
        "if os.fork() == 0:\n"
        "    os.write(1, b'child %d\\n' % os.getpid())\n    time.sleep(60)\n    os._exit(0)\n"
        "db.put(b'k', b'v')\n"
        "os.write(1, b'written\\n')\n"
        "time.sleep(60)\n"
    )
    command = [sys.executable, "-W", "ignore", "-c", program, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        # Both: a child that has not run yet still has what it was given at the fork.
        said = sorted(writer.stdout.readline() for _ in range(2))
        child = int(said[0].removeprefix(b"child "))
        writer.kill()
        writer.wait()
        try:
            with aurora.open(tmp_path) as db:
                assert db[b"k"] == b"v"
        finally:
            os.kill(child, signal.SIGKILL)


def test_a_failed_open_gives_the_lock_back(tmp_path: Path) -> None:
    with aurora.open(tmp_path):
        pass
    with pytest.raises(ValueError, match="zones"):
        aurora.open(tmp_path, topology=aurora.Topology.single())
    with aurora.open(tmp_path) as db:
        db.put(b"k", b"v")


def test_descriptors_and_threads_are_given_back(tmp_path: Path) -> None:
    """Opening and closing many times leaves nothing behind in the process."""

    def counts() -> tuple[int, int]:
        return len(list(Path("/proc/self/fd").iterdir())), threading.active_count()

    with aurora.open(tmp_path) as db:
        db.put(b"k", b"v")
    before = counts()
    for number in range(20):
        with aurora.open(tmp_path) as db:
            db.put(b"%d" % number, b"v")
            list(db.scan())
            db.status()
        with pytest.raises(aurora.StorageIOError):
            aurora.open(tmp_path / "missing", create=False)
    after = counts()
    assert after[0] == before[0]
    assert after[1] <= before[1]
