"""Files that a person can read: one archive for a request of access, as JSON or as tables."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from lethe.durable import replacing
from lethe.errors import BadRequest

Format = Literal["json", "csv"]
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def archive_path(out: Path, workspace: Path, name: str) -> Path:
    """Where the archive goes: `out` itself if it ends in .zip, otherwise `name` inside it.

    Raises:
        BadRequest: it would lie inside the workspace, where no erasure looks for it, or there is
            such a file already.
    """
    path = (out if out.suffix.lower() == ".zip" else out / name).resolve()
    if path.is_relative_to(workspace.resolve()):
        raise BadRequest("the archive must lie outside the workspace: it is for the person")
    if path.exists():
        raise BadRequest("there is a file of that name already; it is not replaced")
    return path


def write_archive(
    path: Path, about: Mapping[str, Any], people: Sequence[Mapping[str, Any]], form: Format
) -> None:
    """Write a zip (0600) with `about` and one part for each person, numbered in their order."""
    with replacing(path) as temporary:
        temporary.touch(mode=0o600)
        with zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in _members(about, people, form):
                archive.writestr(name, content)
        temporary.chmod(0o600)


def _members(
    about: Mapping[str, Any], people: Sequence[Mapping[str, Any]], form: Format
) -> Iterator[tuple[str, str]]:
    if form == "json":
        yield "about.json", _json(about)
        for number, person in enumerate(people, start=1):
            yield f"person-{number:04}.json", _json(person)
        return
    yield "about.csv", as_csv([{"what": key, "is": value} for key, value in about.items()])
    for number, person in enumerate(people, start=1):
        plain = {key: value for key, value in person.items() if not _is_table(value)}
        folder = f"person-{number:04}"
        yield f"{folder}/person.csv", as_csv([{"what": k, "is": v} for k, v in plain.items()])
        for key, value in person.items():
            if _is_table(value):
                yield f"{folder}/{key}.csv", as_csv(value)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, indent=2) + "\n"


def _is_table(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(row, Mapping) for row in value)


def as_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    r"""A table with a header, each cell safe to open in a spreadsheet.

    A cell with a text that a spreadsheet would take for a formula begins with an apostrophe.
    Numbers stay numbers.

    >>> as_csv([{"item": "=1+1", "n": -3}])
    "item,n\r\n'=1+1,-3\r\n"
    """
    out = io.StringIO()
    headings = list(dict.fromkeys(key for row in rows for key in row))
    writer = csv.writer(out)
    writer.writerow([safe(key) for key in headings])
    writer.writerows([safe(row.get(key)) for key in headings] for row in rows)
    return out.getvalue()


def safe(value: Any) -> Any:
    """A cell's value; text that could be a formula is marked as text.

    >>> safe("@home"), safe("home"), safe(-1.5), safe(["=a", "b"])
    ("'@home", 'home', -1.5, "'=a; b")
    """
    if value is None or isinstance(value, int | float):
        return "" if value is None else value
    text = "; ".join(map(str, value)) if isinstance(value, list) else str(value)
    return f"'{text}" if text.startswith(_FORMULA) else text
