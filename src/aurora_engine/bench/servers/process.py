"""A server as a process of ours: not root, not for longer than us, on a Unix socket only."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path

__all__ = ["ServerFailedError", "ServerProcess", "descendants", "find_program", "run_as_nobody"]

NOBODY = "nobody"
START_S_MAX = 60.0
STOP_S_MAX = 60.0
POLL_S = 0.01


class ServerFailedError(Exception):
    """A server could not be made or started; the message has the end of what it said."""


def find_program(name: str, *folders: Path) -> Path | None:
    """A program in one of the folders, the newest version last, or on the path."""
    for folder in reversed(folders):
        if os.access(folder / name, os.X_OK):
            return folder / name
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    return Path(found) if found else None


def _prefix(*, death: bool) -> list[str]:
    """What a command is run by: without root's rights, and killed when the caller has died.

    A folder of root's that is closed to others is entered by one right of root's that is kept.
    """
    command = ["setpriv", *(["--pdeathsig", "KILL"] if death else [])]
    if os.geteuid() == 0:
        entry, kept = pwd.getpwnam(NOBODY), "+dac_read_search"
        command += [f"--reuid={entry.pw_uid}", f"--regid={entry.pw_gid}", "--clear-groups"]
        command += [f"--inh-caps={kept}", f"--ambient-caps={kept}"]
    return command


def private_folder(folder: Path) -> Path:
    """Makes a folder that belongs to the user who runs the servers."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if os.geteuid() == 0:
        entry = pwd.getpwnam(NOBODY)
        os.chown(folder, entry.pw_uid, entry.pw_gid)
    return folder


def _environment(folder: Path) -> dict[str, str]:
    """Ours, with a folder for temporary files that a server may write to."""
    return {**os.environ, "TMPDIR": str(folder)}


def run_as_nobody(command: Sequence[str | Path], folder: Path) -> None:
    """Runs a program that ends by itself, with its temporary files in a folder.

    Raises
    ------
    ServerFailedError
        If it says that it failed.
    """
    done = subprocess.run(
        [*_prefix(death=False), *map(str, command)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        cwd="/",
        env=_environment(folder),
    )
    if done.returncode:
        raise ServerFailedError(f"{command[0]} ended with {done.returncode}: {done.stdout[-2000:]}")


def descendants(process: int) -> list[int]:
    """Ids of a process and of all that it has started and that have not ended."""
    found = [process]
    for each in found:
        try:
            children = Path(f"/proc/{each}/task/{each}/children").read_text()
        except FileNotFoundError:
            continue
        found += map(int, children.split())
    return found


def _send(processes: Iterable[int], number: signal.Signals) -> None:
    for each in processes:
        with suppress(ProcessLookupError):
            os.kill(each, number)


class ServerProcess:
    """A server that runs.

    Parameters
    ----------
    command : callable
        The command line, given the private folder for its socket.
    log : Path
        Gets what the server says; beside it go its temporary files.
    answers : callable
        Whether it answers already, given the folder of the socket.
    stop_signal : signal.Signals
        Asks it to close in the regular way.

    Raises
    ------
    ServerFailedError
        If it ends, or does not answer within a minute.
    """

    def __init__(
        self,
        command: Callable[[Path], Sequence[str | Path]],
        log: Path,
        answers: Callable[[Path], bool],
        stop_signal: signal.Signals,
    ) -> None:
        # Not in the server's own folder, whose name may be longer than a socket's name can be.
        self.sockets = private_folder(Path(tempfile.mkdtemp(prefix="aurora-bench-")))
        self._log, self._stop_signal = log, stop_signal
        try:
            with log.open("ab") as output:
                self._process = subprocess.Popen(
                    [*_prefix(death=True), *map(str, command(self.sockets))],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    cwd="/",
                    env=_environment(log.parent),
                )
            self._wait(answers)
        except BaseException:
            self.close()
            raise

    def _wait(self, answers: Callable[[Path], bool]) -> None:
        end = time.monotonic() + START_S_MAX
        while not answers(self.sockets):
            if self._process.poll() is not None:
                raise ServerFailedError(f"it ended with {self._process.returncode}: {self._said()}")
            if time.monotonic() > end:
                raise ServerFailedError(f"no answer in {START_S_MAX:g} s: {self._said()}")
            time.sleep(POLL_S)

    def _said(self) -> str:
        return self._log.read_text(errors="replace")[-2000:]

    def processes(self) -> list[int]:
        """Ids of the server's processes."""
        return descendants(self._process.pid)

    def close(self) -> None:
        """Stops it; kills it when it takes longer than a minute."""
        if hasattr(self, "_process"):
            everyone = self.processes()
            # One that was stopped for a while could not end.
            _send(everyone, signal.SIGCONT)
            self._process.send_signal(self._stop_signal)
            try:
                self._process.wait(STOP_S_MAX)
            except subprocess.TimeoutExpired:
                _send(everyone, signal.SIGKILL)
                self._process.wait()
        shutil.rmtree(self.sockets, ignore_errors=True)
