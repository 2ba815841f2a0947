"""Every Python block of the README and the guide runs, in order, in an empty directory."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs" / "guide").glob("*.md"))]
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)#:]+)[^):]*\)")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_examples_run(document: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = BLOCK.findall(document.read_text("utf-8"))
    assert blocks, f"{document.name} shows no code"
    monkeypatch.chdir(tmp_path)
    scope: dict[str, object] = {}
    for number, block in enumerate(blocks, 1):
        name = f"{document.name}, block {number}"
        exec(compile(block, name, "exec", dont_inherit=True), scope)


@pytest.mark.parametrize(
    "document",
    sorted(path for path in ROOT.rglob("*.md") if not {"deps", "build", ".venv"} & set(path.parts)),
    ids=str,
)
def test_links_lead_somewhere(document: Path) -> None:
    for target in LINK.findall(document.read_text("utf-8")):
        assert (document.parent / target).exists(), f"{document.name} links to {target}"
