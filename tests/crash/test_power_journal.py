"""The model of a disk with a volatile cache: what a power cut may leave, by hand-made journals."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import pytest
from tests.crash.power_journal import FLUSH, RECORD, SECTOR, WRITE, Journal, PowerCut

OLD, FIRST, SECOND = b"-", b"1", b"2"
SECTORS = 4


class Disk:
    """Writes a journal as `volatile_disk.py` does, and shows what cuts leave of two areas."""

    def __init__(self, folder: Path) -> None:
        self._journal, self._image = folder / "journal", folder / "image"
        self._journal.touch()

    def _record(self, kind: int, offset: int, content: bytes, arrived: int, done: int) -> None:
        with self._journal.open("ab") as stream:
            stream.write(RECORD.pack(kind, offset, len(content), arrived, done) + content)

    def write(self, mark: bytes, arrived: int, completed: int, area: int = 0) -> None:
        content = mark * SECTOR * SECTORS
        self._record(WRITE, area * len(content), content, arrived, completed)

    def flush(self, arrived: int, completed: int) -> None:
        self._record(FLUSH, 0, b"", arrived, completed)

    def journal(self) -> Journal:
        return Journal(self._journal)

    def left(self, at: int, survival: float = 0.0, seed: str = "", flush_delay: int = 0) -> str:
        """The first byte of each sector of both areas after a cut."""
        self._image.write_bytes(OLD * 2 * SECTORS * SECTOR)
        PowerCut(at, survival, seed, flush_delay).apply(self.journal(), self._image)
        sectors = self._image.read_bytes()[::SECTOR].decode()
        return f"{sectors[:SECTORS]} {sectors[SECTORS:]}"


@pytest.fixture
def disk(tmp_path: Path) -> Disk:
    return Disk(tmp_path)


def test_only_a_flush_makes_a_write_durable(disk: Disk) -> None:
    disk.write(FIRST, 10, 20)
    disk.flush(30, 40)
    disk.write(SECOND, 50, 60, area=1)
    assert disk.left(39) == "---- ----"
    assert disk.left(40) == disk.left(1000) == "1111 ----"
    assert disk.left(40, flush_delay=1) == "---- ----"
    assert disk.left(41, flush_delay=1) == "1111 ----"
    journal = disk.journal()
    assert [journal.at_risk(at) for at in (19, 20, 39, 40, 59, 60)] == [0, 1, 1, 0, 0, 1]


def test_a_flush_covers_only_what_was_complete_when_it_arrived(disk: Disk) -> None:
    disk.write(FIRST, 10, 35)
    disk.flush(30, 40)
    assert disk.left(1000) == "---- ----"
    disk.flush(50, 60)
    assert disk.left(60) == "1111 ----"


def test_what_was_not_flushed_may_have_any_fate(disk: Disk) -> None:
    """Each write by itself: there, gone, begun, or there in some sectors; also out of order."""
    disk.write(FIRST, 10, 20)
    disk.write(SECOND, 12, 22, area=1)
    seen = {disk.left(100, 0.5, str(seed)) for seed in range(800)}
    assert set(map(" ".join, product(("1111", "----"), ("2222", "----")))) <= seen
    firsts = {each.split()[0] for each in seen}
    assert firsts == set(map("".join, product("1-", repeat=SECTORS)))


def test_what_was_durable_is_not_undone_by_what_comes_later(disk: Disk) -> None:
    disk.write(FIRST, 10, 20)
    disk.flush(30, 40)
    disk.write(SECOND, 50, 60)
    seen = {disk.left(100, 0.5, str(seed)) for seed in range(200)}
    assert not any("-" in each.split()[0] for each in seen)
    assert {"1111 ----", "2222 ----"} < seen


def test_a_write_that_arrives_after_the_cut_never_happened(disk: Disk) -> None:
    disk.write(FIRST, 10, 20)
    assert {disk.left(9, 1.0, str(seed)) for seed in range(20)} == {"---- ----"}


def test_the_same_seed_leaves_the_same(disk: Disk) -> None:
    for number in range(30):
        disk.write(FIRST, number, number + 5, area=number % 2)
    assert len({disk.left(100, 0.5, "7") for _ in range(3)}) == 1
