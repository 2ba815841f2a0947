"""Fetch the third-party C sources that the core compiles in, and check them.

The sources come out of two source distributions on the Python package index, pinned by hash, so
that a machine which can `pip install` can build. They are unpacked into the git-ignored folder
``deps/`` and reused from there: files that are present with the right hash cost no network. Our
own source distribution carries ``deps/``.

Usage: ``python tools/fetch_deps.py [FOLDER]``. Needs only the standard library: it runs inside
pip's build isolation, where pip itself cannot be imported, and therefore reads pip's settings
(index, extra indexes, certificates) itself.
"""

from __future__ import annotations

import base64
import configparser
import hashlib
import html
import io
import os
import re
import ssl
import sys
import tarfile
import tempfile
import urllib.parse
import urllib.request
from dataclasses import dataclass
from pathlib import Path

DEFAULT_INDEX = "https://pypi.org/simple"
TIMEOUT_SECONDS = 60


@dataclass(frozen=True)
class SourceFile:
    """One wanted file: its name inside the sdist, where it goes under deps/, and its SHA-256."""

    member: str
    target: str
    sha256: str


@dataclass(frozen=True)
class Sdist:
    """A pinned source distribution and the files wanted from it."""

    project: str
    file_name: str
    sha256: str
    files: tuple[SourceFile, ...]


SDISTS = (
    Sdist(
        # zstd 1.5.7 as one file, used under its BSD licence (GPL is the other choice it offers).
        "zstandard",
        "zstandard-0.25.0.tar.gz",
        "7713e1179d162cf5c7906da876ec2ccb9c3a9dcbdffef0cc7f70c3667a205f0b",
        (
            SourceFile(
                "zstd/zstd.c",
                "zstd/zstd.c",
                "68181bcc33ce17fdd4acc8b954abfb32e1d40bfc332235cdff8c6c95c341dab1",
            ),
            SourceFile(
                "zstd/zstd.h",
                "zstd/zstd.h",
                "9b4bc8245565c98ccfc61c07749928b57e7c0f6fddb0530c4f6aa1971893d88b",
            ),
            SourceFile(
                "zstd/zstd_errors.h",
                "zstd/zstd_errors.h",
                "66a8c3f71d12ea6e797e4f622f31f3f8f81c41b36f48cad4f5de7d8bfb6aac0a",
            ),
            SourceFile(
                "zstd/LICENSE",
                "zstd/LICENSE",
                "7055266497633c9025b777c78eb7235af13922117480ed5c674677adc381c9d8",
            ),
        ),
    ),
    Sdist(
        # xxHash 0.8.4, used header-only.
        "xxhash",
        "xxhash-4.1.0.tar.gz",
        "c9b288e4c1f5dae54417bc8a05e6f6daf505783d916b4783f4dd2f2e7d5db486",
        (
            SourceFile(
                "deps/xxhash/xxhash.h",
                "xxhash/xxhash.h",
                "3dc8d161e867a62d3417f7885b55fdaded8b7b497e2f165d05c94f4fe24f2ca4",
            ),
            SourceFile(
                "deps/xxhash/LICENSE",
                "xxhash/LICENSE",
                "6ffedbc0f7878612d2b23589f1ff2ab15633e1df7963a5d9fc750ec5500c7e7a",
            ),
        ),
    ),
)


class FetchError(Exception):
    """A source could not be had or is not what was pinned."""


def sha256_of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def is_present(folder: Path, wanted: SourceFile) -> bool:
    path = folder / wanted.target
    return path.is_file() and sha256_of(path.read_bytes()) == wanted.sha256


class PipSettings:
    """What pip would use, read from its environment variables and configuration files."""

    def __init__(self) -> None:
        self._values: dict[str, str] = {}
        for path in self._files():
            parser = configparser.RawConfigParser()
            try:
                parser.read(path, encoding="utf-8")
            except configparser.Error:
                continue
            for section in ("global", "download", "install"):
                if parser.has_section(section):
                    self._values.update(parser.items(section))
        for name, value in os.environ.items():
            if name.startswith("PIP_") and name != "PIP_CONFIG_FILE" and value:
                self._values[name[4:].lower().replace("_", "-")] = value

    @staticmethod
    def _files() -> list[Path]:
        """Return the configuration files, least important first, as pip orders them."""
        only = os.environ.get("PIP_CONFIG_FILE")
        if only == os.devnull:
            return []
        home = Path.home()
        config_home = Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config")
        config_dirs = (os.environ.get("XDG_CONFIG_DIRS") or "/etc/xdg").split(":")
        files = [Path(folder) / "pip" / "pip.conf" for folder in config_dirs]
        files += [
            Path("/etc/pip.conf"),
            home / ".pip" / "pip.conf",
            config_home / "pip" / "pip.conf",
        ]
        files.append(Path(sys.prefix) / "pip.conf")
        if only:
            files.append(Path(only))
        return files

    def words(self, name: str) -> list[str]:
        return self._values.get(name, "").split()

    def indexes(self) -> list[str]:
        if self._values.get("no-index", "").lower() in {"1", "true", "yes", "on"}:
            return []
        return [*(self.words("index-url") or [DEFAULT_INDEX]), *self.words("extra-index-url")]

    def tls_context(self, host: str) -> ssl.SSLContext:
        if host in {trusted.split(":")[0] for trusted in self.words("trusted-host")}:
            # What is fetched is pinned by hash: a host that the user trusts needs no certificate.
            context = ssl.create_default_context()
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            return context
        bundles = self.words("cert")
        if bundles and Path(bundles[0]).is_file():
            return ssl.create_default_context(cafile=bundles[0])
        return ssl.create_default_context()


def download(url: str, settings: PipSettings) -> tuple[str, bytes]:
    """Return the final address and the body of `url`; credentials may stand in the address."""
    parts = urllib.parse.urlsplit(url)
    headers = {"User-Agent": "aurora-engine-build", "Accept": "text/html, */*;q=0.1"}
    if parts.username is not None:
        pair = (
            f"{urllib.parse.unquote(parts.username)}:{urllib.parse.unquote(parts.password or '')}"
        )
        headers["Authorization"] = "Basic " + base64.b64encode(pair.encode()).decode()
        parts = parts._replace(netloc=parts.netloc.rpartition("@")[2])
    request = urllib.request.Request(urllib.parse.urlunsplit(parts), headers=headers)
    context = settings.tls_context(parts.hostname or "") if parts.scheme == "https" else None
    with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS, context=context) as response:
        return response.geturl(), response.read()


def find_link(page_address: str, page: str, file_name: str) -> str | None:
    """Return the address of `file_name` on a PEP 503 index page."""
    for match in re.finditer(r"<a\b[^>]*\bhref\s*=\s*[\"']([^\"']+)[\"']", page, re.IGNORECASE):
        address = urllib.parse.urljoin(page_address, html.unescape(match.group(1)))
        path = urllib.parse.unquote(urllib.parse.urlsplit(address).path)
        if path.rpartition("/")[2] == file_name:
            return urllib.parse.urldefrag(address).url
    return None


def local_files(sdist: Sdist, settings: PipSettings) -> list[str]:
    """Return the addresses of copies in folders that find-links names."""
    found = []
    for link in settings.words("find-links"):
        folder = Path(urllib.request.url2pathname(link.removeprefix("file://")))
        if (folder / sdist.file_name).is_file():
            found.append((folder / sdist.file_name).resolve().as_uri())
    return found


def download_from(source: str, sdist: Sdist, settings: PipSettings) -> bytes:
    """Download the file itself, or by way of the index page that lists it; check its hash."""
    address = source
    if source.endswith("/"):
        page_address, page = download(source, settings)
        link = find_link(page_address, page.decode("utf-8", "replace"), sdist.file_name)
        if link is None:
            raise FetchError(f"{sdist.file_name} is not listed")
        address = link
    _, archive = download(address, settings)
    if sha256_of(archive) != sdist.sha256:
        raise FetchError(f"SHA-256 is {sha256_of(archive)}, expected {sdist.sha256}")
    return archive


def fetch_archive(sdist: Sdist, settings: PipSettings) -> bytes:
    """Return the sdist from the first place that has it with the pinned hash."""
    pages = [f"{index.rstrip('/')}/{sdist.project}/" for index in settings.indexes()]
    failures = []
    for source in [*local_files(sdist, settings), *pages]:
        try:
            return download_from(source, sdist, settings)
        except (FetchError, OSError, ValueError) as error:  # URLError is an OSError
            failures.append(f"\n  {source}: {error}")
    tried = "".join(failures) or "\n  pip's settings name no index (no-index)"
    raise FetchError(f"{sdist.file_name} could not be fetched:{tried}")


def unpack(sdist: Sdist, archive: bytes, folder: Path) -> None:
    """Write the wanted files, each whole or not at all: builds may run side by side."""
    root = sdist.file_name.removesuffix(".tar.gz")
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as tar:
        for wanted in sdist.files:
            member = tar.extractfile(f"{root}/{wanted.member}")
            data = member.read() if member is not None else b""
            if sha256_of(data) != wanted.sha256:
                raise FetchError(f"{wanted.member} in {sdist.file_name} is not the pinned file")
            target = folder / wanted.target
            target.parent.mkdir(parents=True, exist_ok=True)
            descriptor, temporary = tempfile.mkstemp(dir=target.parent)
            with os.fdopen(descriptor, "wb") as stream:
                stream.write(data)
            Path(temporary).chmod(0o644)
            Path(temporary).replace(target)


def main(arguments: list[str]) -> int:
    default = Path(__file__).resolve().parent.parent / "deps"
    folder = Path(arguments[0]) if arguments else default
    settings = None
    for sdist in SDISTS:
        if all(is_present(folder, wanted) for wanted in sdist.files):
            continue
        settings = settings or PipSettings()
        print(f"fetching {sdist.file_name}", flush=True)
        try:
            unpack(sdist, fetch_archive(sdist, settings), folder)
        except FetchError as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
