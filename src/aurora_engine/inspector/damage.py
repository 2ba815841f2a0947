"""Damage that was found: named by file, offset and what is wrong. Imports nothing of ours."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple


class WrongUse(ValueError):
    """What was asked for cannot be done with this path; the message says what can."""


class Damage(Exception):
    """Bytes that are not what docs/format says.

    Attributes
    ----------
    file : str
        The file, or the folder where one is missing.
    offset : int or None
        Where in the file; None when it is about the file as a whole.
    what : str
        What is wrong.
    """

    def __init__(self, file: str, offset: int | None, what: str) -> None:
        super().__init__(file, offset, what)
        self.file = file
        self.offset = offset
        self.what = what

    def __str__(self) -> str:
        return f"{self.file}{'' if self.offset is None else f' at {self.offset}'}: {self.what}"


class Place(NamedTuple):
    """Where bytes that are being decoded came from."""

    file: str
    offset: int

    def damage(self, what: str, at: int = 0) -> Damage:
        """The damage ``at`` bytes behind the place."""
        return Damage(self.file, self.offset + at, what)


@dataclass
class Findings:
    """What an inspection has found and counted so far.

    ``notes`` are what is worth knowing and no damage, such as the torn tail that a killed writer
    leaves. ``advance`` is told how many bytes were read, for a progress bar.
    """

    damage: list[Damage] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    advance: Callable[[int], None] = lambda _amount: None

    def add(self, file: str, offset: int | None, what: str) -> None:
        """Notes damage."""
        self.damage.append(Damage(file, offset, what))

    @contextmanager
    def catching(self) -> Iterator[None]:
        """Notes damage that is raised inside, and goes on behind the block."""
        try:
            yield
        except Damage as found:
            self.damage.append(found)
