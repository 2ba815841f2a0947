"""``aurora-engine load``: fills a table from CSV, TSV, JSON lines, or lines of key, tab, value."""

from __future__ import annotations

import base64
import csv
import io
import json
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO

import click

from aurora_engine.cli.common import (
    database_argument,
    json_option,
    opened,
    print_json,
    progress,
    table_option,
)

FORMATS = ("csv", "tsv", "jsonl", "pairs")
VALUE_BYTES_MAX = 1 << 30
_BY_SUFFIX = {".csv": "csv", ".tsv": "tsv", ".jsonl": "jsonl", ".ndjson": "jsonl"}

Record = tuple[str | None, bytes, bytes]
"""(table or None, key, value)"""


@click.command("load")
@database_argument
@click.argument("file", type=click.File("rb"), default="-")
@table_option
@click.option(
    "--format",
    "-f",
    "file_format",
    type=click.Choice(FORMATS),
    help="Default: by the file's suffix; pairs for standard input.",
)
@click.option(
    "--key",
    "-k",
    "columns",
    multiple=True,
    help="Column or field that makes the key; several are joined.",
)
@click.option("--separator", default="/", show_default=True, help="Between several key columns.")
@click.option(
    "--batch",
    default=10_000,
    show_default=True,
    type=click.IntRange(min=1),
    help="Records in one transaction.",
)
@json_option
def command(
    path: str,
    file: IO[bytes],
    table: str | None,
    file_format: str | None,
    columns: tuple[str, ...],
    separator: str,
    batch: int,
    as_json: bool,
) -> None:
    """Load FILE (``-``: standard input) into PATH, which is made if it is not there.

    \b
    csv, tsv  the first line names the columns; --key picks those of the key;
              the value is the row as a JSON object
    jsonl     objects as `dump` writes them, or any objects with --key
    pairs     key, tab, value on each line, as bytes
    """  # noqa: D301 - click looks for the character itself
    chosen = file_format or _BY_SUFFIX.get(
        Path(str(getattr(file, "name", "-"))).suffix.lower(), "pairs"
    )
    records = _records(file, chosen, columns, separator)
    start = time.perf_counter()
    count = 0
    with opened(path, table, create=True) as (db, _), progress("loading", None) as advance:
        for chunk in _batches(records, batch):
            with db.begin() as transaction:
                for name, key, value in chunk:
                    target_name = name or table
                    target = transaction if target_name is None else transaction.table(target_name)
                    target.put(key, value)
            count += len(chunk)
            advance(len(chunk))
    seconds = time.perf_counter() - start
    if as_json:
        print_json({"records": count, "seconds": seconds})
    else:
        click.echo(
            f"loaded {count:,} records in {seconds:.2f} s, "
            f"{count / max(seconds, 1e-9):,.0f} a second"
        )


def _batches(records: Iterable[Record], size: int) -> Iterator[list[Record]]:
    chunk: list[Record] = []
    for record in records:
        chunk.append(record)
        if len(chunk) == size:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def _records(
    file: IO[bytes], file_format: str, columns: tuple[str, ...], separator: str
) -> Iterator[Record]:
    if file_format == "pairs":
        return _pairs(file)
    if file_format == "jsonl":
        return _json_lines(file, columns, separator)
    if not columns:
        raise click.UsageError(f"--key is needed for {file_format}: which column makes the key?")
    return _rows(file, "," if file_format == "csv" else "\t", columns, separator)


def _pairs(file: IO[bytes]) -> Iterator[Record]:
    for number, line in enumerate(file, 1):
        key, found, value = line.rstrip(b"\r\n").partition(b"\t")
        if not found:
            raise click.UsageError(f"line {number} has no tab between key and value")
        yield None, key, value


def _rows(
    file: IO[bytes], delimiter: str, columns: tuple[str, ...], separator: str
) -> Iterator[Record]:
    csv.field_size_limit(VALUE_BYTES_MAX)
    text = io.TextIOWrapper(file, "utf-8-sig", newline="")
    rows = csv.DictReader(text, delimiter=delimiter, strict=True)
    try:
        for row in rows:
            value = json.dumps(row, ensure_ascii=False).encode()
            yield None, _joined(row, columns, separator), value
    except csv.Error as error:
        raise click.UsageError(f"line {rows.line_num} is not a row: {error}") from None
    finally:
        # The file belongs to whoever opened it.
        text.detach()


def _json_lines(file: IO[bytes], columns: tuple[str, ...], separator: str) -> Iterator[Record]:
    for number, line in enumerate(file, 1):
        if not line.strip():
            continue
        try:
            fields = json.loads(line)
            if columns:
                yield (
                    None,
                    _joined(fields, columns, separator),
                    json.dumps(fields, ensure_ascii=False).encode(),
                )
            else:
                yield fields.get("table"), _content(fields, "key"), _content(fields, "value")
        except (ValueError, KeyError, AttributeError) as error:
            raise click.UsageError(f"line {number} is not a record: {error}") from None


def _content(fields: dict[str, str], name: str) -> bytes:
    encoded = fields.get(f"{name}_base64")
    return fields[name].encode() if encoded is None else base64.b64decode(encoded, validate=True)


def _joined(fields: dict[str, object], columns: tuple[str, ...], separator: str) -> bytes:
    missing = [column for column in columns if column not in fields]
    if missing:
        raise click.UsageError(f"no column {missing[0]!r}; there are {', '.join(map(str, fields))}")
    return separator.join(str(fields[column]) for column in columns).encode()
