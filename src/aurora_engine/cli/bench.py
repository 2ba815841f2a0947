"""``aurora-engine bench``: this engine beside others, on the machine at hand."""

from __future__ import annotations

import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from aurora_engine.cli.common import EXIT_IO, json_option, print_json

if TYPE_CHECKING:
    from aurora_engine.bench.results import Results
    from aurora_engine.bench.sizes import Sizes

OURS = ("aurora", "aurora-single")


@click.command("bench")
@click.option(
    "--against",
    default="all",
    show_default=True,
    metavar="all|NAME,...",
    help="Engines to compare with; the report names those that are not installed.",
)
@click.option("--quick", is_flag=True, help="Small sizes: everything in less than three minutes.")
@click.option("--smoke", is_flag=True, help="Tiny sizes: shows that everything runs, no verdict.")
@click.option(
    "--only",
    multiple=True,
    metavar="WORKLOAD",
    help="Run this workload; may be repeated. By default all.",
)
@click.option(
    "--seconds",
    type=click.FloatRange(min=0, min_open=True),
    help="Length of one measurement.  [default: 1; quick: 0.16]",
)
@click.option(
    "--repetitions",
    type=click.IntRange(min=1),
    help="Measurements of each kind.  [default: 3; quick: 2]",
)
@click.option(
    "--path",
    type=click.Path(file_okay=False, exists=True, path_type=Path),
    metavar="PATH",
    default=".",
    show_default=True,
    help="A folder on the disk to measure.",
)
@click.option(
    "--out",
    type=click.Path(file_okay=False, writable=True, path_type=Path),
    default="aurora-bench",
    show_default=True,
    help="Folder for report.md, raw.json and the plots.",
)
@json_option
def command(
    against: str,
    quick: bool,
    smoke: bool,
    only: tuple[str, ...],
    seconds: float | None,
    repetitions: int | None,
    path: Path,
    out: Path,
    as_json: bool,
) -> None:
    """Run the benchmarks and write a report.

    Everything is installed with `pip install 'aurora-engine[bench]'`. The engines work in a private
    folder under --path, which is removed at the end.
    """
    try:
        from aurora_engine.bench import plots, report, targets
    except ImportError as error:
        raise click.UsageError(f"{error}: pip install 'aurora-engine[bench]'") from None
    sizes = _sizes(quick, smoke)
    sizes = replace(
        sizes,
        seconds=seconds or sizes.seconds,
        repetitions=repetitions or sizes.repetitions,
    )
    engines, workloads = _engines(against), _workloads(only)
    out.mkdir(parents=True, exist_ok=True)
    results = _run(workloads, engines, sizes, path)
    drawn = plots.draw(results, out)
    report.write(results, out, [file.name for file in drawn])
    if as_json:
        verdicts = [] if smoke else [asdict(verdict) for verdict in targets.judge(results)]
        print_json(
            {
                "report": str(out / "report.md"),
                "sizes": sizes.name,
                "missing": results.missing,
                "failed": results.failed,
                "targets": verdicts,
            }
        )
    else:
        _tell(results, out)
    if results.failed:
        sys.exit(EXIT_IO)


def _tell(results: Results, out: Path) -> None:
    """What is missing, what failed, and where the report is."""
    for name, why in results.missing.items():
        click.echo(f"left out {name}: {why}")
    for failure in results.failed:
        click.echo("failed: {engine}, {workload}, {case}: {why}".format(**failure))
    told = f"{results.sizes_name} run in {results.seconds:.0f} s"
    click.echo(f"{told}, report: {out / 'report.md'}")


def _sizes(quick: bool, smoke: bool) -> Sizes:
    from aurora_engine.bench import sizes

    if smoke:
        return sizes.SMOKE
    return sizes.QUICK if quick else sizes.FULL


def _engines(against: str) -> list[str]:
    """Names of the engines that take part: ours, and the ones asked for."""
    from aurora_engine.bench.engines.registry import ENGINES

    known = list(dict.fromkeys(name for kind in ENGINES.values() for name in kind))
    if against == "all":
        return known
    asked = [name.strip() for name in against.split(",")]
    for name in asked:
        if name not in known:
            raise click.BadParameter(f"no engine {name!r}; there are {', '.join(known)}")
    return [*OURS, *asked]


def _workloads(only: tuple[str, ...]) -> list[str]:
    from aurora_engine.bench.suite import WORKLOADS

    for name in only:
        if name not in WORKLOADS:
            raise click.BadParameter(f"no workload {name!r}; there are {', '.join(WORKLOADS)}")
    return list(only or WORKLOADS)


def _run(workloads: list[str], engines: list[str], sizes: Sizes, path: Path) -> Results:
    """Runs in a folder of its own, which is removed whatever happens."""
    from aurora_engine.bench.machine import facts
    from aurora_engine.bench.run import run

    # Ended from outside, or with its terminal, it cleans up as if it were interrupted.
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup has it
            signal.signal(number, signal.default_int_handler)
    folder = Path(tempfile.mkdtemp(prefix="aurora-bench-", dir=path.resolve()))
    # Servers run as other users and have to get there.
    folder.chmod(0o755)
    try:
        machine, start = facts(folder), time.perf_counter()
        with _told() as tell:
            results = run(workloads, engines, sizes, folder, tell)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    results.machine, results.sizes = machine, asdict(sizes)
    results.seconds = time.perf_counter() - start
    return results


@contextmanager
def _told() -> Iterator[Callable[[str], None]]:
    """What is being done, on a terminal as one line that changes."""
    if not sys.stderr.isatty():
        yield lambda line: click.echo(line, err=True)
        return
    from rich.console import Console

    with Console(stderr=True).status("starting") as status:
        yield status.update
