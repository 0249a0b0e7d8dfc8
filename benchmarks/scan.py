"""How fast the search of the estate is, and what it finds, beside `grep -F -f`.

    python benchmarks/scan.py [MEGABYTES]        (of each kind of file; 64 by default)

Both look for the same people, each by id and by pseudonym, in the same files, one after the other,
each file read once before. `grep` is told the two plain spellings and looks at the bytes alone; the
search also looks for the encodings, in what the files decode to. The table goes into
docs/benchmarks.md.
"""

from __future__ import annotations

import gzip
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.page import machine, put
from benchmarks.planted import TWENTY
from lethe.estate.search import Needles
from lethe.estate.search.looking import counted

PEOPLE, SOMEBODY = 5_000, "Zo\xeb-M\xfcller 00123"
RAW = {"rows with ids"}


def rows(size: int, name: Callable[[int], str]) -> str:
    """About `size` bytes of an export; nobody who is looked for is in it."""
    line = "{},item-{},1772366400,purchase,3\n"
    count = size // len(line.format(name(0), 100))
    return "".join(line.format(name(n), n % 4_000) for n in range(count))


def kinds(size: int) -> Iterator[tuple[str, bytes]]:
    """Each kind of file, and its content."""
    yield "rows with ids", rows(size, lambda n: f"customer-{n % 90_000 + 10_000:06}").encode()
    yield "rows with pseudonyms", rows(size, lambda _: secrets.token_hex(16)).encode()
    yield "arrays (random bytes)", os.urandom(size)
    yield (
        "rows with pseudonyms, gzip",
        gzip.compress(rows(size, lambda n: f"{n * 2654435761 % 2**64:032x}").encode(), 6),
    )
    out = pa.BufferOutputStream()
    users = [f"{secrets.randbelow(200_000) * 2654435761:032x}" for _ in range(size // 12)]
    columns = {"user": users, "item": [f"item-{n % 4_000}" for n in range(len(users))]}
    pq.write_table(pa.table(columns), out, compression="zstd")
    yield "rows with pseudonyms, parquet", out.getvalue().to_pybytes()


def timed(call: Callable[[], object]) -> float:
    """Processor seconds of the faster of two calls, with those of processes that they started."""
    seconds = []
    for _ in range(2):
        began = sum(os.times()[:4])
        call()
        seconds.append(sum(os.times()[:4]) - began)
    return max(min(seconds), 0.01)  # the clock ticks a hundred times a second


def grep(path: Path, names: Path) -> int:
    """Lines in which `grep` finds anybody."""
    found = subprocess.run(
        [shutil.which("grep") or "grep", "-c", "-a", "-F", "-f", str(names), str(path)],
        capture_output=True, text=True, check=False, env={**os.environ, "LC_ALL": "C"},
    )  # fmt: skip
    return int(found.stdout or 0)


def speeds(folder: Path, names: Path, needles: Needles, size: int) -> Iterator[str]:
    """A row of the table for each kind of file."""
    for kind, content in kinds(size):
        path = folder / "file"
        path.write_bytes(content)
        assert grep(path, names) == 0
        assert counted(path, needles, fields=kind in RAW) == ({}, True)
        ours = timed(partial(counted, path, needles, fields=kind in RAW))
        other = timed(partial(grep, path, names))
        size_of = len(content) / 1e6
        yield f"| {kind} | {size_of:.0f} | {size_of / ours:,.0f} | {size_of / other:,.0f} |"


def recall(folder: Path, names: Path) -> tuple[int, int, list[str]]:
    """In how many of the twenty encodings the search and `grep` find somebody; grep's by name."""
    names.write_text(f"{SOMEBODY}\n", encoding="utf-8")
    needles, ours, others = Needles.of([], [SOMEBODY]), 0, []
    for encoding, wrapped in TWENTY.items():
        path = folder / "planted"
        path.write_bytes(wrapped(SOMEBODY))
        ours += bool(counted(path, needles, fields=False)[0])
        others += [encoding] if grep(path, names) else []
    return ours, len(others), others


def main() -> None:
    """Measure both, print the table and write it into the page."""
    size = int(sys.argv[1] if sys.argv[1:] else 64) * 1_000_000
    load = os.getloadavg()[0]
    ids = [f"customer-{n:06}" for n in range(PEOPLE)]
    pseudonyms = [secrets.token_hex(16) for _ in range(PEOPLE)]
    began = time.process_time()
    needles = Needles.of(pseudonyms, ids)
    built = time.process_time() - began
    with tempfile.TemporaryDirectory() as place:
        folder, names = Path(place), Path(place) / "names"
        names.write_text("\n".join([*ids, *pseudonyms]) + "\n", encoding="utf-8")
        table = list(speeds(folder, names, needles, size))
        ours, other, which = recall(folder, names)
    text = "\n".join([
        (f"{machine(load)} {PEOPLE:,} people, each by id and pseudonym; "
        f"making the table of their encodings took {built:.1f} s."),
        "",
        "| Files without a hit | MB | search, MB a processor second | `grep -F -f`, the same |",
        "|---|---:|---:|---:|",
        *table,
        "",
        f"Of the 20 encodings the search finds {ours}, `grep` {other} ({', '.join(which)}).",
    ])  # fmt: skip
    print(text)
    put("scan", text)


if __name__ == "__main__":
    main()
