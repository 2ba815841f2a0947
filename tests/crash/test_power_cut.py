"""Power cuts under a writer on a real file system: what was acknowledged is there (I1, I2).

The disk has a volatile write cache: a writer that acknowledges before the cache was flushed loses
commits here. ``make test-power-cut`` installs what these tests need; where it cannot be had they are
skipped, unless ``AURORA_MUST_RUN`` is set. ``AURORA_POWER_CUTS=100`` raises the number of cuts.
"""

from __future__ import annotations

import os
import random
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.crash.power_journal import PowerCut
from tests.crash.power_recording import IMAGE_BYTES, Recording, check_volume, record, writing
from tests.crash.power_writer import Acknowledged, Scenario
from tests.crash.test_kill import TINY_GROUP_BYTES
from tests.file_systems import CannotHereError, make_ext4, mounted, run, shut_down
from tests.volumes import seeded

pytestmark = pytest.mark.crash

CUTS = int(os.environ.get("AURORA_POWER_CUTS", "4"))
WRITING_SECONDS = 2.0
SURVIVALS = (0.0, 0.0, 0.1, 0.5, 0.9, 1.0)

SCENARIOS = {
    "one thread": Scenario(keys=1),
    "eight threads": Scenario(keys=8),
    "one copy": Scenario(copies=1, keys=2, sql=2, others=True),
    "a growing volume": Scenario(group_bytes=TINY_GROUP_BYTES, keys=2, sql=2, others=True),
}


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Where recordings go; they are large, so only those of failures are kept."""
    yield tmp_path
    shutil.rmtree(tmp_path / "passed", ignore_errors=True)
