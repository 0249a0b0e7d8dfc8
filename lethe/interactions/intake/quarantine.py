"""What intake refused: the folder that keeps rows and files, and can forget.

Quarantine is the one place below landing that holds raw ids, so it stays out of every data
version, and an erasure searches it. What it keeps is given back by hand or deleted, never read
by a training.
"""

from __future__ import annotations

import gzip
import json
import os
import re
import shutil
import unicodedata
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import quote, unquote

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from lethe.durable import canonical_json, read_json, replacing, sha256_file, sync_folder, write_json
from lethe.interactions.intake.verdicts import Mask, RefusedRow

_LINE_BYTES: Final = 1 << 20
_UNREADABLE: Final = (EOFError, OSError, zlib.error)
_UNSEEN: Final = ("Cc", "Cf")
_SIGNS: Final = re.compile(r"""["\\]|^\W*$""")
_OURS: Final = "#"
_APART: Final = ",;|'<>{}[]:=%"  # what ends a field for the search, and what spells it


@dataclass(frozen=True)
class QuarantineCounts:
    """Rows kept by rule, whole files kept by rule."""

    rows: dict[str, int]
    files: dict[str, int]


@dataclass(frozen=True)
class Quarantine:
    """The folder of what was refused; names in it are the first 12 digits of the file's SHA-256.

    SHA12.jsonl holds refused rows; SHA12.csv (or whatever it was) a file that was refused whole,
    with SHA12.reason.json beside it.
    """

    folder: Path

    def rows(self, file_sha: str, refused: Iterable[RefusedRow]) -> int:
        """Keep refused rows of a file, synced; a row that is kept already is not kept again.

        Returns how many were new. A line that a crash cut off is dropped and written anew.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"{file_sha[:12]}.jsonl"
        with path.open("a+b") as stream:
            stream.seek(0)
            whole = 0
            kept: set[int] = set()
            for line in stream:
                if line.endswith(b"\n"):
                    kept.add(_read(line).row)
                    whole += len(line)
            stream.truncate(whole)
            new = [row for row in refused if row.row not in kept]
            for row in new:
                stream.write(_written(row))
            stream.flush()
            os.fsync(stream.fileno())
        path.chmod(0o600)
        sync_folder(self.folder)
        return len(new)

    def file(self, path: Path, rule: str) -> Path:
        """Move a whole file in, with its rule; its single rows are not kept a second time."""
        digest = sha256_file(path)
        kind = "".join(path.suffixes[-2:])
        # A landed file called like our own records must not pass for one of them.
        kind += ".whole" if kind.endswith((".jsonl", ".reason.json")) else ""
        target = self.folder / (digest[:12] + kind)
        reason = {"name": path.name, "rule": rule, "sha256": digest}
        write_json(self.folder / f"{digest[:12]}.reason.json", reason)
        with replacing(target) as temporary:
            shutil.copyfile(path, temporary)
            temporary.chmod(0o600)
        (self.folder / f"{digest[:12]}.jsonl").unlink(missing_ok=True)
        path.unlink()
        sync_folder(path.parent)
        return target

    def forget(self, raw_ids: Set[str]) -> int:
        """Remove every line that names one of the ids; how many lines went.

        An id counts as named where it stands as a word of its own, in any case and with unseen
        characters left out: here it is better to remove too much. A file that cannot be decoded
        is deleted (and counts as one line) if its bytes hold an id.
        """
        named = _Named.of(raw_ids)
        removed = 0
        for path in sorted(self.folder.glob("*")):
            if path.name.endswith(".part"):
                path.unlink()
            elif path.suffix == ".parquet":
                removed += _forget_in_parquet(path, named)
            elif not path.name.endswith(".reason.json"):
                removed += _forget_in_lines(path, named)
        return removed

    def counts(self) -> QuarantineCounts:
        """What is kept, by rule."""
        rows: Counter[str] = Counter()
        for path in self.folder.glob("*.jsonl"):
            with path.open("rb") as stream:
                rows.update(_read(line).rule for line in stream)
        reasons = self.folder.glob("*.reason.json")
        files = Counter(str(read_json(path)["rule"]) for path in reasons)
        return QuarantineCounts(dict(sorted(rows.items())), dict(sorted(files.items())))


def _written(row: RefusedRow) -> bytes:
    """A row as it is kept: nothing but the row itself may look like an id to the search.

    The search cannot tell a number or a word of ours from an id that reads the same, and nobody
    would remove it: the request could never be closed.
    """
    rule = "".join(quote(one, safe="") if one in _APART else one for one in row.rule)
    ours = {"row": f"{_OURS}{row.row}", "rule": _OURS + rule}
    entry = ours if row.line is None else {**ours, "line": row.line}
    return canonical_json({_OURS + key: value for key, value in entry.items()}) + b"\n"


def _read(line: bytes) -> RefusedRow:
    entry = {key.removeprefix(_OURS): value for key, value in json.loads(line).items()}
    row, rule = str(entry["row"]).removeprefix(_OURS), entry["rule"].removeprefix(_OURS)
    return RefusedRow(int(row), unquote(rule), entry.get("line"))


@dataclass(frozen=True, repr=False)
class _Named:
    """Whether a text names one of some ids."""

    odd: frozenset[str]
    words: frozenset[str]
    phrases: re.Pattern[str] | None
    encoded: tuple[bytes, ...]

    @classmethod
    def of(cls, ids: Set[str]) -> _Named:
        bare = frozenset(map(_bare, ids)) - {""}
        words = frozenset(text for text in bare if re.fullmatch(r"\w+", text))
        others = "|".join(re.escape(text) for text in sorted(bare - words))
        phrases = re.compile(rf"(?<!\w)(?:{others})(?!\w)") if others else None
        forms = ("utf-8", "utf-16-le", "utf-16-be")
        encoded = tuple(text.encode(form) for text in sorted(ids) for form in forms)
        return cls(bare - words, words, phrases, encoded)

    def in_text(self, text: str) -> bool:
        text = _bare(text)
        for form in (text, text.replace('""', '"'), text.replace('\\"', '"').replace("\\\\", "\\")):
            if not self.words.isdisjoint(re.findall(r"\w+", form)):
                return True
            if self.phrases is not None and self.phrases.search(form):
                return True
        return False

    def in_line(self, line: bytes) -> bool:
        return self.in_text(line.decode("utf-8", "replace")) or self.in_text(line.decode("latin-1"))

    def in_kept_line(self, line: bytes) -> bool:
        # An id such as "#1" reads as what we write around the row, one such as "\\" as JSON.
        ours = _bare(canonical_json({**json.loads(line), f"{_OURS}line": ""}).decode())
        signs = _bare(line.decode())
        odd = any(one in (signs if _SIGNS.search(one) else ours) for one in self.odd)
        return odd or self.in_text(_read(line).line or "")


def _bare(text: str) -> str:
    text = text.strip(" \r\n")
    if not text.isprintable():
        unseen = (char for char in text if unicodedata.category(char) in _UNSEEN and char != "\t")
        text = text.translate(dict.fromkeys(map(ord, unseen)))
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold())


def _lines(path: Path) -> Iterator[bytes]:
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as stream:
        while True:
            try:
                line = stream.readline(_LINE_BYTES)
            except (EOFError, OSError, zlib.error):
                return  # damaged: what comes after cannot be decoded by anybody
            if not line:
                return
            yield line


def _forget_in_lines(path: Path, named: _Named) -> int:
    first = next(_lines(path), b"")
    if not first or b"\0" in first:
        return _forget_whole(path, named)
    names = named.in_kept_line if path.suffix == ".jsonl" else named.in_line
    removed = sum(map(names, _lines(path)))
    if removed:
        with replacing(path) as temporary:
            zipped = path.suffix == ".gz"
            with gzip.GzipFile(temporary, "wb", mtime=0) if zipped else temporary.open("wb") as out:
                out.writelines(line for line in _lines(path) if not names(line))
            temporary.chmod(0o600)
    return removed


def _forget_in_parquet(path: Path, named: _Named) -> int:
    def theirs(batch: pa.RecordBatch) -> Mask:
        texts = (" | ".join(map(str, row.values())) for row in batch.to_pylist())
        return np.fromiter(map(named.in_text, texts), np.bool_, len(batch))

    try:
        with parquet.ParquetFile(path) as file:
            removed = sum(int(theirs(batch).sum()) for batch in file.iter_batches(1_024))
            if removed:
                with replacing(path) as temporary:
                    with parquet.ParquetWriter(temporary, file.schema_arrow) as out:
                        for batch in file.iter_batches(1_024):
                            out.write_batch(batch.filter(pa.array(~theirs(batch))))
                    temporary.chmod(0o600)
    except (pa.ArrowException, OSError):
        return _forget_whole(path, named)
    return removed


def _forget_whole(path: Path, named: _Named) -> int:
    content = path.read_bytes()
    if not any(form in content for form in named.encoded):
        return 0
    path.unlink()
    path.with_name(f"{path.name[:12]}.reason.json").unlink(missing_ok=True)
    sync_folder(path.parent)
    return 1
