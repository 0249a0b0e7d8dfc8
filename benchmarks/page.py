"""A page of docs/: each measurement has a section of its own there, between two markers."""

from __future__ import annotations

import os
import platform
import time
from pathlib import Path

PAGE = Path(__file__).resolve().parent.parent / "docs" / "benchmarks.md"


def machine(load: float) -> str:
    """Where and when it was measured; `load` is that of the machine before anything began."""
    return (
        f"{os.cpu_count()} cores, Python {platform.python_version()}; load at the start "
        f"{load:.1f}; {time.strftime('%Y-%m-%d')}."
    )


def put(section: str, text: str, into: Path = PAGE) -> None:
    """Replace what stands between the section's markers.

    Raises:
        ValueError: the page has no such section; nothing is written then.
    """
    begin, end = f"<!-- {section} -->\n", f"\n<!-- /{section} -->"
    page = into.read_text(encoding="utf-8")
    before, opened, rest = page.partition(begin)
    _, closed, after = rest.partition(end)
    if not (opened and closed):
        raise ValueError(f"{into.name} has no section {section}")
    into.write_text(before + begin + text + end + after, encoding="utf-8")
