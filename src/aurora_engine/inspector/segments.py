"""A segment: its manifest, log and layers together, checked, and its pages at any moment."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from .damage import Damage, Findings, Place, WrongUse
from .files import Closing
from .history import sees
from .hot_log import HotLog, read_log
from .layer_check import check_layer, check_listed, check_sum
from .layers import Layer, layer_number
from .manifest import DELTA, Listed, Manifest, read_manifest
from .pages import Page, Refused
from .records import Record

MANIFEST_NAME = "manifest"
RESERVE_NAME = "reserve"


class Segment(Closing):
    """One copy of one protection group, read from its folder.

    Parameters
    ----------
    folder : Path
        The segment's folder.
    findings : Findings
        Where damage of the log is noted.

    Raises
    ------
    Damage
        If the manifest is missing or broken: without it nothing else can be told.
    """

    def __init__(self, folder: Path, findings: Findings) -> None:
        self.folder = folder
        self.manifest: Manifest = read_manifest(folder / MANIFEST_NAME)
        findings.counts["files"] += 1
        self.log: HotLog = read_log(folder, self.manifest, findings)
        self.layers: dict[int, Layer] = {}
        self.lost: dict[int, Damage] = {}

    def close(self) -> None:
        """Closes the layers that were opened. Idempotent."""
        for layer in self.layers.values():
            layer.close()

    @property
    def newest_moment(self) -> int:
        """The newest LSN, or what the newest rewind made the present."""
        rewinds = self.manifest.rewinds
        return max(self.log.scl, rewinds[-1].at + 1 if rewinds else 0)

    def open_layer(self, listed: Listed) -> Layer:
        """The file of a layer in the manifest's list."""
        if listed.number in self.lost:
            raise self.lost[listed.number]
        layer = self.layers.get(listed.number)
        if layer is None:
            try:
                layer = Layer(self.folder / listed.file_name)
            except Damage as found:
                self.lost[listed.number] = found
                raise
            self.layers[listed.number] = layer
        return layer

    # ---- checks

    def check(self, findings: Findings) -> None:
        """Reads every layer, and looks for files that should not be here."""
        for listed in self.manifest.layers:
            if listed.size > 0:
                with findings.catching():
                    self._check_layer(listed, findings)
                findings.advance(listed.size)
        self._check_folder(findings)

    def _check_layer(self, listed: Listed, findings: Findings) -> None:
        before = len(findings.damage)
        layer = self.open_layer(listed)
        if layer.file.size != listed.size:
            findings.add(
                layer.name,
                None,
                f"the layer has {layer.file.size} bytes, the manifest lists {listed.size}",
            )
        check_listed(layer, listed, self.manifest, findings)
        check_layer(layer, self.manifest, findings)
        if len(findings.damage) == before:
            check_sum(layer, listed, findings)

    def _check_folder(self, findings: Findings) -> None:
        listed = {layer.file_name for layer in self.manifest.layers}
        extents = {extent.path.name for extent in self.log.extents}
        known = listed | extents | {MANIFEST_NAME, RESERVE_NAME}
        for path in sorted(self.folder.iterdir()):
            if path.name in known or path.name.startswith("log-"):
                continue
            left = layer_number(path) is not None or path.name.startswith(MANIFEST_NAME)
            told = "not removed yet" if left else "no file of a segment"
            findings.notes.append(f"{path}: {told}; nothing refers to it")

    # ---- pages

    def pages(self) -> set[int]:
        """Every page that there are records of."""
        found = self.log.pages
        for listed in self.manifest.layers:
            if listed.records > 0:
                found.update(self.open_layer(listed).pages())
        return found

    def build(self, page_id: int, moment: int) -> Page | None:
        """The page as a read at ``moment`` sees it; None when it was never written.

        Raises
        ------
        WrongUse
            If the page is another group's, or the moment is not retained any more.
        Damage
            If records are missing, or do not fit.
        """
        manifest = self.manifest
        if not manifest.first_page <= page_id < manifest.end_page:
            raise WrongUse(
                f"{self.folder} holds pages {manifest.first_page} to {manifest.end_page - 1}, not "
                f"{page_id}"
            )
        part = manifest.part_of(page_id)
        if part is not None and moment < part.horizon:
            raise WrongUse(
                f"moment {moment} of page {page_id} is no longer retained in {self.folder}; the "
                f"oldest is {part.horizon}"
            )
        chain = self._chain(page_id, moment)
        if not chain:
            return None
        page = Page(manifest.page_bytes)
        oldest, place = chain[-1]
        if not oldest.makes_page:
            raise place.damage(f"records of page {page_id} before LSN {oldest.lsn} are missing")
        for record, place in reversed(chain):
            try:
                page.apply(record)
            except Refused as reason:
                raise place.damage(
                    f"the record at LSN {record.lsn} does not fit page {page_id}: {reason}"
                ) from None
        try:
            page.check()
        except Refused as reason:
            raise place.damage(f"page {page_id} at {moment} is not sound: {reason}") from None
        return page

    def _chain(self, page_id: int, moment: int) -> list[tuple[Record, Place]]:
        """The records that make the page, newest first, down to one that needs none before it."""
        chain: list[tuple[Record, Place]] = []
        for record, place in self._candidates(page_id):
            if sees(self.manifest.rewinds, moment, record.lsn):
                chain.append((record, place))
                if record.makes_page:
                    break
        return chain

    def _candidates(self, page_id: int) -> Iterator[tuple[Record, Place]]:
        """All records of a page, newest first: the log's, those of deltas, those of the base."""
        manifest = self.manifest
        yield from reversed(self.log.records_of(page_id))
        part = manifest.part_of(page_id)
        floor = 0 if part is None else part.complete
        for listed in manifest.of_kind(DELTA):
            if listed.complete <= floor:
                break
            for record, place in reversed(self.open_layer(listed).records_of(page_id)):
                if record.lsn > floor:
                    yield record, place
        if part is not None and part.size > 0:
            yield from reversed(self.open_layer(part).records_of(page_id))
