"""An archive gives back exactly what went in; of a hostile one nothing is acted upon."""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lethe.durable import canonical_json
from lethe.errors import ArtifactCorrupt, BadFile, BadInput, LetheError, StoreUnavailable
from lethe.estate import backups
from lethe.estate.backups import Backup, Kept, unpack, write
from lethe.estate.stores import STORES

MADE = 1_770_000_000
CONTENT = {
    "params.yaml": b"name: shop\n",
    ".lethe/vault.db": b"somebody" * 999,
    "data/interactions/2025-03/b0.parquet": bytes(range(256)) * 8,
    ".lethe/mlflow/" + "a-long-folder/" * 12 + "users.txt": b"x",
    ".dvc/cache/files/md5/ab/cd": bytes(range(256)) * 8,
    ".lethe/remote/files/md5/ab/cd": b"",
}


def backup_of(content: dict[str, bytes], mode: int = 0o600) -> Backup:
    files = tuple(
        Kept(name, len(told), hashlib.sha256(told).hexdigest(), mode)
        for name, told in content.items()
    )
    return Backup("/srv/shop", MADE, 3, "ab" * 32, {"pseudonym": "cd"}, files)


def sign(content: bytes) -> bytes:
    return hashlib.sha256(content).hexdigest().encode() + b" signature\n"


def written(folder: Path, content: dict[str, bytes], backup: Backup | None = None) -> Path:
    sources = {}
    for number, (name, told) in enumerate(content.items()):
        sources[name] = folder / f"source-{number}"
        sources[name].write_bytes(told)
    path = folder / "backup.tar.gz"
    write(path, backup or backup_of(content), sources, sign)
    return path


def unpacked(path: Path, into: Path) -> dict[str, bytes]:
    into.mkdir(mode=0o700)
    unpack(path, into)
    return {
        found.relative_to(into).as_posix(): found.read_bytes()
        for found in into.rglob("*")
        if found.is_file()
    }


@settings(max_examples=25, deadline=None)
@given(
    names=st.lists(
        st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z"), exclude_characters="/"))
        .filter(lambda text: 0 < len(text.encode()) < 200 and text not in {".", ".."})
        .map(lambda text: f"data/landing/{text}"),
        unique=True,
        max_size=4,
    ),
    parts=st.lists(st.binary(max_size=1500), min_size=4, max_size=4),
    mode=st.sampled_from([0o400, 0o444, 0o600, 0o644, 0o755]),
)
def test_whatever_goes_in_comes_out(names: list[str], parts: list[bytes], mode: int) -> None:
    content = dict(zip(names, parts, strict=False))
    with TemporaryDirectory() as place:
        path = written(Path(place), content, backup_of(content, mode))
        assert unpacked(path, Path(place) / "out") == content
        modes = {(Path(place) / "out" / name).stat().st_mode & 0o777 for name in content}
        assert modes <= {mode}
        with tarfile.open(path) as archive:  # and any other tar can list and read it
            assert archive.getnames()[2:] == list(content)
            found = [archive.extractfile(name) for name in content]
            assert [file.read() for file in found if file] == list(content.values())


def test_an_archive_is_private_and_equal_files_are_stored_once(tmp_path: Path) -> None:
    same = {f".lethe/remote/{n}": b"\0" + bytes(range(251)) * 4_000 for n in range(3)}
    path = written(tmp_path, CONTENT | same)
    assert path.stat().st_mode & 0o777 == 0o600
    assert unpacked(path, tmp_path / "out") == CONTENT | same
    assert len(gzip.decompress(path.read_bytes())) < 1_100_000


def test_a_file_that_changes_meanwhile_leaves_no_archive(tmp_path: Path) -> None:
    for other in (b"shorter", CONTENT[".lethe/vault.db"] + b"longer", b"sOmebody" * 999):
        with pytest.raises(StoreUnavailable, match="changed while it was backed up"):
            written(tmp_path, CONTENT | {".lethe/vault.db": other}, backup_of(CONTENT))
        assert not list(tmp_path.glob("*backup*"))


# --- hostile archives ---------------------------------------------------------------------------


def member(name: str, content: bytes = b"", **fields: object) -> tuple[tarfile.TarInfo, bytes]:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode, entry.mtime = len(content), 0o600, MADE
    for field, value in fields.items():
        setattr(entry, field, value)
    return entry, content


def forged(
    path: Path, manifest: bytes, *members: tuple[tarfile.TarInfo, bytes], end: bytes = b""
) -> Path:
    """An archive as anybody could make one, without a word of `backups.py`."""
    out = io.BytesIO()
    told = (member("lethe-backup.json", manifest), member("lethe-backup.sig", sign(manifest)))
    for entry, content in (*told, *members):
        out.write(entry.tobuf(tarfile.GNU_FORMAT) + content + bytes(-len(content) % 512))
    path.write_bytes(gzip.compress(out.getvalue() + bytes(1024) + end))
    return path


def refused(path: Path, error: type[LetheError], says: str) -> None:
    """It is refused, and nothing is written but files of the private folder."""
    into = path.with_name("out")
    into.mkdir()
    before = set(path.parent.rglob("*"))
    with pytest.raises(error, match=says):
        unpack(path, into)
    after = set(path.parent.rglob("*")) - before
    assert all(one.is_relative_to(into) and not one.is_symlink() for one in after)


BAD_NAMES = [
    "../outside", "/etc/outside", "data/landing/../../../outside", "data/landing/./x", "data//x",
    "", ".", "data/landing/a\0b", "elsewhere/x", "data/x", ".lethe/keys/signing.key",
    ".lethe/register.db", ".lethe/register.anchor", ".lethe/restore.json", ".lethe/tmp/x",
]  # fmt: skip
BAD_VALUES = [
    {"size": -1}, {"size": "1"}, {"size": True}, {"sha256": "ab"}, {"sha256": 5},
    {"mode": 0o4755}, {"mode": "x"}, {"path": 7},
]  # fmt: skip
ONE = {"path": "params.yaml", "size": 1, "sha256": hashlib.sha256(b"x").hexdigest(), "mode": 0o600}


def manifest_of(*files: dict[str, object], **fields: object) -> bytes:
    told = {
        "format": "lethe-backup-1", "workspace": "/srv/shop", "made": MADE, "keys": {},
        "register_position": 3, "register_head": "ab", "files": list(files), **fields,
    }  # fmt: skip
    return canonical_json(told)


def test_the_forger_can_forge_one_that_is_taken(tmp_path: Path) -> None:
    path = forged(tmp_path / "b.tar.gz", manifest_of(ONE), member("params.yaml", b"x"))
    assert unpacked(path, tmp_path / "out") == {"params.yaml": b"x"}


@pytest.mark.parametrize("change", [*({"path": name} for name in BAD_NAMES), *BAD_VALUES])
def test_a_manifest_that_names_what_no_backup_holds_is_refused(
    change: dict[str, object], tmp_path: Path
) -> None:
    name = str(change.get("path", "params.yaml")).replace("\0", "_")
    path = forged(tmp_path / "b.tar.gz", manifest_of(ONE | change), member(name, b"x"))
    refused(path, BadFile, "cannot hold")


@pytest.mark.parametrize(
    "manifest",
    [
        b"no json", b"[]", b"{}", manifest_of(ONE) + b" ", manifest_of(ONE, more=1),
        manifest_of(ONE, ONE), manifest_of(ONE, made="now"), manifest_of(ONE, made=-1),
        manifest_of(ONE, keys=[]), manifest_of(ONE, register_position="3"), b"[" * 100_000,
        manifest_of(ONE | {"path": "data/landing/x"}, ONE | {"path": "data/landing/x/y"}),
        manifest_of(ONE, format="lethe-backup-2"),
    ],
)  # fmt: skip
def test_a_manifest_of_another_form_is_refused(manifest: bytes, tmp_path: Path) -> None:
    path = forged(tmp_path / "b.tar.gz", manifest, member("params.yaml", b"x"))
    refused(path, BadFile, r"cannot hold|is not one that this version reads")


@pytest.mark.parametrize(
    "instead",
    [
        member("params.yaml", b"", type=tarfile.SYMTYPE, linkname="/etc/passwd"),
        member("params.yaml", b"", type=tarfile.LNKTYPE, linkname="../outside"),
        member("params.yaml", b"", type=tarfile.CHRTYPE),
        member("params.yaml", b"", type=tarfile.FIFOTYPE),
        member("params.yaml", b"", type=tarfile.DIRTYPE),
        member("params.yaml", b"x", type=tarfile.XHDTYPE),
        member("params.yaml", b"x", type=tarfile.GNUTYPE_LONGNAME),
        member("../outside", b"x"),
        member("params.yaml", b"x", mode=0o4755),
        member("params.yaml", b"xx"),
    ],
)
def test_a_member_that_the_manifest_does_not_name_next_is_refused(
    instead: tuple[tarfile.TarInfo, bytes], tmp_path: Path
) -> None:
    refused(forged(tmp_path / "b.tar.gz", manifest_of(ONE), instead), BadFile, "names next")


def test_what_comes_after_the_last_file_or_between_is_refused(tmp_path: Path) -> None:
    good = member("params.yaml", b"x")
    for number, (members, end) in enumerate(
        [((good, member("../outside", b"x")), b""), ((good,), b"x"), ((good,), bytes(512))]
    ):
        (folder := tmp_path / str(number)).mkdir()
        path = forged(folder / "b.tar.gz", manifest_of(ONE), *members, end=end)
        refused(path, BadFile, "goes on after the last file")


def test_sizes_that_no_machine_holds_are_refused_before_anything_is_read(tmp_path: Path) -> None:
    huge = ONE | {"size": 1 << 60}
    path = forged(tmp_path / "b.tar.gz", manifest_of(huge), member("params.yaml", b"x"))
    refused(path, StoreUnavailable, "more than the disk has left")
    bomb, _ = member("lethe-backup.json")
    bomb.size = 1 << 40
    other = tmp_path / "bomb" / "b.tar.gz"
    other.parent.mkdir()
    other.write_bytes(gzip.compress(bomb.tobuf(tarfile.GNU_FORMAT) + bytes(1 << 20)))
    refused(other, BadFile, "no backup made by Lethe")


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_no_changed_and_no_missing_byte_goes_unseen(data: st.DataObject) -> None:
    with TemporaryDirectory() as place:
        path = written(Path(place), CONTENT)
        plain = gzip.decompress(path.read_bytes())
        at = data.draw(st.integers(0, len(plain) - 1))
        if data.draw(st.booleans()):
            changed = bytearray(plain)
            changed[at] ^= data.draw(st.integers(1, 255))
            path.write_bytes(gzip.compress(bytes(changed)))
        else:
            path.write_bytes(data.draw(st.sampled_from([gzip.compress(plain[:at]), plain])))
        into = Path(place) / "out"
        into.mkdir()
        try:
            opened = unpack(path, into)
        except LetheError:
            return
        assert sign(opened.content) != opened.signature, "the signature tells"


def test_no_byte_of_the_first_header_can_be_another(tmp_path: Path) -> None:
    plain = bytearray(gzip.decompress(written(tmp_path, {}).read_bytes()))
    for at in range(512):
        plain[at] ^= 1
        (folder := tmp_path / str(at)).mkdir()
        (folder / "b.tar.gz").write_bytes(gzip.compress(plain, 1))
        with pytest.raises(LetheError):
            unpack(folder / "b.tar.gz", folder)
        plain[at] ^= 1


def test_a_gzip_that_is_cut_is_told_as_damaged(tmp_path: Path) -> None:
    path = written(tmp_path, CONTENT)
    for number, size in enumerate((0, 5, 100, len(path.read_bytes()) - 4)):
        (folder := tmp_path / f"cut-{number}").mkdir()
        (folder / "b.tar.gz").write_bytes(path.read_bytes()[:size])
        refused(folder / "b.tar.gz", ArtifactCorrupt, "cut short or damaged")


# --- what belongs in one ------------------------------------------------------------------------


def test_neither_the_register_nor_a_key_nor_what_is_made_anew_is_in_a_backup() -> None:
    left_out = {store.name for store in STORES if not store.backed_up}
    made_anew = {"Prefect", "temporary files", "suppressed", "batch outputs"}
    servers = {"stack"}  # of its databases there are dumps
    assert left_out == {"register", "keys", "outbox"} | made_anew | servers
    assert not {p for s in STORES if not s.backed_up for p in s.places} & set(backups.places())
    assert ".lethe/night.json" in backups.passing_places()
    assert ".lethe/night.lock" not in (*backups.places(), *backups.passing_places())


def test_a_backup_has_a_new_name_outside_the_workspace(tmp_path: Path) -> None:
    shop = tmp_path / "shop"
    shop.mkdir()
    (tmp_path / "old.tar.gz").touch()
    for place in (shop / "b.tar.gz", shop / ".." / "shop" / "b.tar.gz", tmp_path / "b.tar",
                  tmp_path / "old.tar.gz"):  # fmt: skip
        with pytest.raises(BadInput):
            backups.free_place(place, shop)
    assert backups.free_place(tmp_path / "b.tar.gz", shop) == (tmp_path / "b.tar.gz").resolve()
