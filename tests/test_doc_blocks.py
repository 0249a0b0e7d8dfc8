"""What the documents show runs, where they say that it does."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from tests.documents import (
    AFTER,
    ALONE,
    BESIDE,
    BLOCKS,
    CLONE,
    FRESH,
    GUIDE,
    Block,
)
from tests.watched import Shop, run


@pytest.mark.parametrize("block", [b for b in BLOCKS if b.place == FRESH], ids=str)
def test_a_block_that_starts_a_workspace_runs(block: Block, tmp_path: Path) -> None:
    from lethe import sample

    sample.write_history(tmp_path / "exports", 2, seed=1, users=80, items=50)
    done = run(("bash", "-euc", block.text), tmp_path, tmp_path / "connections")

    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("block", [b for b in BLOCKS if b.place == BESIDE], ids=str)
def test_a_block_beside_a_workspace_runs(block: Block, shop: Shop, tmp_path: Path) -> None:
    (tmp_path / "myshop").symlink_to(shop.root)
    done = run(("bash", "-euc", block.text), tmp_path, shop.connections)

    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("block", [b for b in BLOCKS if b.place == ALONE], ids=str)
def test_a_block_that_needs_two_files_needs_nothing_else(
    block: Block, small_night: Shop, tmp_path: Path
) -> None:
    (place := tmp_path / "elsewhere").mkdir()
    state = small_night.root / ".lethe"
    shutil.copy(state / "certificates" / "version-1.json", place / "version-3.json")
    shutil.copy(state / "keys" / "signing.pub", place)
    done = run(("bash", "-euc", block.text), place, tmp_path / "connections")

    assert done.returncode == 0, done.stderr


def test_every_block_of_commands_or_code_says_where_it_is_run() -> None:
    """Pictures, and commands for a machine of one's own, are blocks of `text`."""
    languages = {"bash", "python", "sh", "console"}

    assert [str(b) for b in BLOCKS if b.language in languages and b.place is None] == []
    assert {b.language for b in BLOCKS} <= languages | {"text", "yaml"}


def test_the_blocks_that_follow_a_night_run_in_their_order(shop: Shop) -> None:
    shown = [block for block in BLOCKS if block.place == AFTER]
    assert len(shown) >= 3
    for block in shown:
        command = {
            "bash": ("bash", "-euc", block.text),
            "python": (sys.executable, "-c", block.text),
        }[block.language]
        done = run(command, shop.root, shop.connections)
        assert done.returncode == 0, f"{block}\n{done.stdout}\n{done.stderr}"


def test_no_block_is_marked_for_a_place_that_is_not_known() -> None:
    known = {None, FRESH, AFTER, BESIDE, ALONE, CLONE}

    assert {block.place for block in BLOCKS if block.page != GUIDE} == known
    assert shutil.which("bash")
