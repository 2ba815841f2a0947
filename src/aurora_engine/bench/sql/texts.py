"""Texts of random digits, as they are in the tables of sysbench."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.random import Generator

__all__ = ["digits", "grouped_digits"]

GROUP = 11


def digits(count: int, length: int, random: Generator) -> list[str]:
    """So many texts of so many random digits."""
    return _texts(random.integers(ord("0"), ord("9") + 1, (count, length), dtype=np.uint8))


def grouped_digits(count: int, groups: int, random: Generator) -> list[str]:
    """So many texts of groups of eleven random digits, with dashes between the groups."""
    characters = random.integers(
        ord("0"), ord("9") + 1, (count, groups * (GROUP + 1) - 1), dtype=np.uint8
    )
    characters[:, GROUP :: GROUP + 1] = ord("-")
    return _texts(characters)


def _texts(characters: np.ndarray[tuple[int, int], np.dtype[np.uint8]]) -> list[str]:
    count, length = characters.shape
    joined = characters.tobytes().decode("ascii")
    return [joined[start : start + length] for start in range(0, count * length, length)]
