"""The notebook runs from top to bottom over two data versions, and holds no output."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.watched import Shop, run

pytestmark = pytest.mark.timeout(900)  # two nights come first

NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "look.ipynb"
SEEN = """
import json
print(json.dumps({
    "champion": champion.version, "neighbours": neighbours.tolist(), "versions": len(versions),
    "rows": found["rows"], "item": learned.items[chosen] in neighbours.index,
}))
"""


def cells() -> list[dict[str, Any]]:
    document = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    assert (document["nbformat"], document["nbformat_minor"]) == (4, 5)
    return [cell for cell in document["cells"] if cell["cell_type"] == "code"]


def test_it_loads_the_champion_finds_neighbours_and_compares_two_data_versions(
    second_night: Shop,
) -> None:
    script = "\n".join("".join(cell["source"]) for cell in cells()) + SEEN
    done = run((sys.executable, "-c", script), second_night.root, second_night.connections)
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout.splitlines()[-1])

    assert (seen["champion"], seen["versions"], seen["item"]) == (1, 2, False)
    assert seen["neighbours"] == sorted(seen["neighbours"], reverse=True)
    assert len(seen["neighbours"]) == 10
    assert all(-1.001 <= likeness <= 1.001 for likeness in seen["neighbours"])
    assert seen["rows"]["in_both"] > 0
    assert seen["rows"]["only_in_the_second"] > 0


def test_no_output_is_kept_in_it() -> None:
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in cells())
