"""Reading files: what cannot be read, or ends too early, is damage."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from .damage import Damage

STEP_BYTES = 1 << 20


class Closing:
    """What is closed at the end of a with statement."""

    def close(self) -> None:
        """Closes its files. Idempotent."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class StoredFile(Closing):
    """A file that is open for reading.

    Parameters
    ----------
    path : Path
        The file.

    Raises
    ------
    Damage
        If it is not there or cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.name = str(path)
        try:
            self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise self._refused(error, None) from None
        try:
            self.size = os.fstat(self._descriptor).st_size
        except OSError as error:
            self.close()
            raise self._refused(error, None) from None

    def close(self) -> None:
        """Closes the file. Idempotent."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _refused(self, error: OSError, offset: int | None) -> Damage:
        if isinstance(error, FileNotFoundError):
            return Damage(self.name, None, "the file is missing")
        return Damage(self.name, offset, f"cannot be read ({error.strerror})")

    def read(self, offset: int, length: int) -> bytes:
        """Exactly ``length`` bytes."""
        if length < 0 or offset < 0 or offset + length > self.size:
            raise Damage(
                self.name, offset, f"the file ends at {self.size}, within {length} bytes wanted"
            )
        try:
            content = os.pread(self._descriptor, length, offset)
        except OSError as error:
            raise self._refused(error, offset) from None
        if len(content) < length:
            raise Damage(self.name, offset, "the file was cut short while it was read")
        return content

    def pieces(self) -> Iterator[bytes]:
        """The whole file."""
        for offset in range(0, self.size, STEP_BYTES):
            yield self.read(offset, min(STEP_BYTES, self.size - offset))


def read_whole(path: Path, limit: int) -> bytes:
    """All of a file that is no longer than ``limit`` bytes."""
    with StoredFile(path) as file:
        if file.size > limit:
            raise Damage(file.name, None, f"{file.size} bytes long; at most {limit} are allowed")
        return file.read(0, file.size)
