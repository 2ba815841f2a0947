"""What the results were taken on."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import subprocess
import time
from pathlib import Path

from aurora_engine.bench.counters import device_of

__all__ = ["facts", "package_missing", "package_version"]


def package_version(name: str) -> str:
    """Version of an installed distribution."""
    return importlib.metadata.version(name)


def package_missing(module: str) -> str | None:
    """What to do when a Python module is not installed; None when it is."""
    found = importlib.util.find_spec(module) is not None
    return None if found else f"no Python module {module}: pip install 'aurora-engine[bench]'"


def _field(file: str, name: str) -> str:
    """The first value of a field in a file of lines ``name : value``; empty if there is none."""
    try:
        lines = Path(file).read_text().splitlines()
    except OSError:
        return ""
    for line in lines:
        found, _, value = line.partition(":")
        if found.strip() == name:
            return value.strip()
    return ""


def _file_system(folder: Path) -> str:
    """Type and options of the file system that a folder lies on."""
    best, answer = "", ""
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, point, kind, options, *_ = line.split()
        if folder.resolve().is_relative_to(point) and len(point) >= len(best):
            best, answer = point, f"{kind} ({options})"
    return answer


def _git(*arguments: str) -> str | None:
    """What git says of the folder of this file; None where it refuses or is not there."""
    command = ["git", "-C", str(Path(__file__).parent), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _commit() -> str:
    """The commit that is measured, and whether files were changed since."""
    # Installed within another's repository, this file is not one of its files.
    if _git("ls-files", "--error-unmatch", Path(__file__).name) is None:
        return "not a checkout"
    changed = _git("status", "--porcelain", "--untracked-files=no")
    return f"{_git('rev-parse', 'HEAD')}{', with changes' if changed else ''}"


def _write_cache(device: str | None) -> str:
    file = Path(f"/sys/class/block/{device}/queue/write_cache")
    return file.read_text().strip() if device and file.exists() else "unknown"


def facts(folder: Path) -> dict[str, str]:
    """The machine, the disk that a folder lies on, and the versions beneath ours."""
    device = device_of(folder)
    return {
        "processor": f"{os.cpu_count()} x {_field('/proc/cpuinfo', 'model name') or 'unknown'}",
        "architecture": platform.machine(),
        "memory": _field("/proc/meminfo", "MemTotal"),
        "kernel": platform.release(),
        "disk": f"{device or 'no device of its own'}, cache: {_write_cache(device)}",
        "file system": _file_system(folder),
        "python": platform.python_version(),
        "libc": " ".join(platform.libc_ver()),
        "commit": _commit(),
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "load before": f"{os.getloadavg()[0]:.2f}",
    }
