"""The command line: ``aurora-engine COMMAND``.

One module a command, imported when it is called for.
"""

from __future__ import annotations

import importlib
import os
import select
import sqlite3
import sys
from pathlib import Path
from typing import Any

import click

from aurora_engine.cli.common import (
    EXIT_INTERRUPTED,
    EXIT_IO,
    EXIT_SQL,
    EXIT_UNREAD,
    exit_code,
)
from aurora_engine.errors import AuroraError

COMMANDS = (
    "create",
    "info",
    "get",
    "put",
    "delete",
    "scan",
    "load",
    "dump",
    "backtrack",
    "history",
    "clone",
    "explain-retention",
    "verify",
    "repair",
    "inspect",
    "sql",
    "import-sqlite",
    "export-sqlite",
    "bench",
)


def module_of(command: str) -> str:
    """Name of the module that holds a command."""
    return f"aurora_engine.cli.{command.replace('-', '_')}"


class _LazyCommands(click.Group):
    """Imports a command's module only when it runs, so that every command starts fast."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(module_of(cmd_name)).command
        return command

    def invoke(self, ctx: click.Context) -> Any:
        try:
            try:
                return super().invoke(ctx)
            finally:
                click.echo(nl=False)  # what is buffered
        except KeyboardInterrupt:
            click.echo("aurora-engine: interrupted", err=True)
            ctx.exit(EXIT_INTERRUPTED)
        except BrokenPipeError:
            if not _is_unread():
                raise
            _drop_output()
            ctx.exit(EXIT_UNREAD)


def _is_unread() -> bool:
    """Whether who read standard output has gone, and not another program behind a pipe."""
    watch = select.poll()
    watch.register(sys.stdout.fileno(), 0)
    return any(event & (select.POLLERR | select.POLLHUP) for _, event in watch.poll(0))


def _drop_output() -> None:
    """What is still to be written goes nowhere, or Python would complain of it at its end."""
    with Path(os.devnull).open("wb") as nowhere:
        os.dup2(nowhere.fileno(), sys.stdout.fileno())


@click.group(cls=_LazyCommands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="aurora-engine")
def _group() -> None:
    """Work with the volumes of aurora_engine: six copies in three zones, the log is the database.

    Exit codes: 0 done; 1 key or table not there, or not confirmed; 2 wrong usage; 3 damage found;
    4 open elsewhere; 5 too few copies; 6 input/output error or disk full; 7 any other failure;
    8 the moment is no longer retained; 9 SQL failed; 130 interrupted; 141 the reader of the output
    has gone.
    """


def main() -> None:
    """Entry point: runs a command, turns an error of the engine into one line and an exit code."""
    try:
        _group(prog_name="aurora-engine")
    except AuroraError as error:
        click.echo(f"aurora-engine: {type(error).__name__}: {error}", err=True)
        sys.exit(exit_code(error))
    except sqlite3.Error as error:
        notes = "".join(f"; {note}" for note in getattr(error, "__notes__", ()))
        click.echo(f"aurora-engine: {type(error).__name__}: {error}{notes}", err=True)
        sys.exit(EXIT_SQL)
    except (ValueError, TypeError) as error:
        click.echo(f"aurora-engine: {error}", err=True)
        sys.exit(2)
    except OSError as error:
        click.echo(f"aurora-engine: {error}", err=True)
        sys.exit(EXIT_IO)


__all__ = ["main"]
