"""The error tree: one class for each status of the C core, and what errors carry."""

from __future__ import annotations

import errno
import pickle
import re
from pathlib import Path

import pytest

import aurora_engine as aurora
from aurora_engine import errors
from aurora_engine._ext.status import CLASSES, STATUSES, exception_for, status_text

HEADER = Path(__file__).parents[2] / "csrc/include/aurora/errors.h"
BUILTIN = {"AUR_ERR_INVALID": ValueError, "AUR_ERR_MEMORY": MemoryError}


def test_statuses_and_classes_are_one_to_one() -> None:
    in_header = dict(re.findall(r"X\((AUR_ERR_\w+), (-\d+),", HEADER.read_text()))
    assert {name: int(value) for name, value in in_header.items()} == STATUSES
    assert set(CLASSES) == set(STATUSES.values())
    assert len(set(CLASSES.values())) == len(CLASSES)
    for name, status in STATUSES.items():
        cls = CLASSES[status]
        assert BUILTIN.get(name) is cls or (
            issubclass(cls, aurora.AuroraError) and cls.status_name == name
        )
        assert status_text(status) in str(exception_for(status, ""))


def test_every_class_is_public() -> None:
    for cls in [*aurora.AuroraError.__subclasses__(), aurora.AuroraError]:
        assert getattr(aurora, cls.__name__) is cls
        assert cls.__name__ in errors.__all__
        assert cls.__doc__


def test_a_refused_path_is_the_file_concerned(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(aurora.StorageIOError) as refused:
        aurora.open(tmp_path / "file")
    assert refused.value.file == refused.value.filename == str(tmp_path / "file")
    assert pickle.loads(pickle.dumps(refused.value)).file == refused.value.file


def test_an_error_carries_its_place() -> None:
    error = exception_for(
        STATUSES["AUR_ERR_CORRUPT"],
        "page sum differs",
        group=1,
        copy=4,
        file="layer-7",
        offset=4096,
        lsn=99,
    )
    assert isinstance(error, aurora.CorruptionError)
    assert (error.group, error.copy, error.file, error.offset, error.lsn) == (
        1,
        4,
        "layer-7",
        4096,
        99,
    )
    assert str(error) == "page sum differs [group 1, copy 4, file layer-7, offset 4096, LSN 99]"
    assert not error.retryable
    assert not error.in_doubt


def test_bases_of_the_standard_library() -> None:
    error = exception_for(STATUSES["AUR_ERR_IO"], "pwrite failed", errno=errno.EIO, file="log-1")
    assert isinstance(error, aurora.StorageIOError)
    assert isinstance(error, OSError)
    assert error.errno == errno.EIO
    assert "log-1" in str(error)
    assert "pwrite failed" in str(error)
    assert str(aurora.StorageIOError("plain")) == "plain"
    assert issubclass(aurora.DatabaseClosedError, ValueError)
    assert aurora.ConflictError.retryable
    assert not any(
        cls.retryable
        for cls in set(CLASSES.values()) - {aurora.ConflictError}
        if hasattr(cls, "retryable")
    )


def test_errors_can_be_sent_to_another_process() -> None:
    for name in STATUSES:
        if name not in BUILTIN:
            error = exception_for(STATUSES[name], "what", errno=errno.EIO, lsn=5)
            back = pickle.loads(pickle.dumps(error))
            assert type(back) is type(error)
            assert str(back) == str(error)
            assert isinstance(back, aurora.AuroraError)
            assert back.lsn == 5


def test_an_unknown_status_is_our_bug() -> None:
    with pytest.raises(SystemError):
        exception_for(-1, "")
