"""The documents, and the blocks of commands and code in them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
DECISIONS = sorted((ROOT / "docs" / "decisions").glob("0*.md"))
FRESH, AFTER = "workspace", "after a night"
BESIDE, ALONE = "beside a workspace", "with two files alone"
CLONE = "on a clean clone"  # .ci/run runs `make test`; `make nightly` is tried by hand
GUIDE = ROOT / "docs" / "add-a-recipe.md"  # run by tests/solutions/test_add_a_recipe.py


@dataclass(frozen=True)
class Block:
    """One fenced block: its language, and where `<!-- run: ... -->` above it says to run it."""

    page: Path
    line: int
    language: str
    place: str | None
    text: str

    def __str__(self) -> str:
        return f"{named(self.page)}:{self.line}"


def named(page: Path) -> str:
    return str(page.relative_to(ROOT))


def blocks() -> Iterator[Block]:
    fence = re.compile(r"(?:<!-- (?:run|file|line): (.+?) -->\n)?```(\w+)\n(.*?)```", re.DOTALL)
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for found in fence.finditer(text):
            line = text.count("\n", 0, found.start()) + 1
            yield Block(page, line, found[2], found[1], found[3])


BLOCKS = list(blocks())
