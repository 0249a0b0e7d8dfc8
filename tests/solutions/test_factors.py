"""Factors prove themselves; a solution folder is read by allow-list and comes back unchanged."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from lethe.durable import canonical_json, sha256_file
from lethe.errors import ArtifactCorrupt, BadInput
from lethe.solutions.factors import (
    Factors,
    Manifest,
    Solution,
    artifact_digest,
    read_solution,
    write_solution,
)
from tests.solutions.histories import pseudonyms

MANIFEST = Manifest(
    recipe="als",
    hyperparameters={"factors": 8, "alpha": 10.0, "seal": True},
    seed=2**60,
    matrix_digest="a" * 64,
    data_version="b" * 32 + ".dir",
    register_position=7,
    register_head="c" * 64,
    environment={"numpy": "2.4.6"},
)


def solution(users: int = 4, items: int = 3, biases: bool = False, seed: int = 0) -> Solution:
    draw = np.random.default_rng(seed)

    def some(*shape: int) -> np.ndarray:
        return draw.random(shape, dtype=np.float32)

    factors = Factors(some(users, 5), some(items, 5))
    if biases:
        factors = Factors(some(users, 5), some(items, 5), some(users), some(items))
    popular = np.arange(items, dtype=np.int32)[::-1].copy()
    names = tuple(f"ítem {k}\n" for k in range(items))
    return Solution(factors, pseudonyms(users), names, popular, MANIFEST)


def test_scores_are_inner_products_plus_biases() -> None:
    made = solution(biases=True).factors
    assert made.user_biases is not None
    assert made.item_biases is not None
    rows = np.array([2, 0, 2])
    for k, row in enumerate(rows):
        for item in range(3):
            slow = sum(
                float(a) * float(b)
                for a, b in zip(made.user_factors[row], made.item_factors[item], strict=True)
            )
            slow += float(made.user_biases[row]) + float(made.item_biases[item])
            assert abs(float(made.scores(rows)[k, item]) - slow) < 1e-5


ONE = np.ones((2, 2), dtype=np.float32)


@pytest.mark.parametrize(
    "build",
    [
        lambda: Factors(ONE.astype(np.float64), ONE),
        lambda: Factors(ONE, np.ones((2, 3), dtype=np.float32)),
        lambda: Factors(
            np.asfortranarray(np.ones((2, 3), np.float32)), np.ones((2, 3), np.float32)
        ),
        lambda: Factors(ONE[:, :0].copy(), ONE[:, :0].copy()),
        lambda: Factors(ONE * np.float32(np.inf), ONE),
        lambda: Factors(ONE, ONE, ONE[0].copy()),
        lambda: Factors(ONE, ONE, np.ones(3, np.float32), np.ones(2, np.float32)),
        lambda: Factors(ONE, ONE, np.ones(2, np.float32), np.ones(3, np.float32)),
        lambda: Factors(ONE[0].copy(), ONE),
        lambda: Factors([[1.0]], ONE),  # type: ignore[arg-type]
    ],
)
def test_factors_that_do_not_fit_are_never_built(build: Callable[[], Factors]) -> None:
    with pytest.raises(BadInput):
        build()


def test_factors_cannot_be_written_through() -> None:
    with pytest.raises(ValueError, match="read-only"):
        Factors(ONE, ONE).user_factors[0, 0] = 2


def test_one_ulp_moves_the_digest_of_its_array_alone() -> None:
    made = solution().factors
    moved = made.item_factors.copy()
    moved[1, 2] = np.nextafter(moved[1, 2], np.float32(9))
    before, after = made.digests(), Factors(made.user_factors, moved).digests()
    assert before["user_factors"] == after["user_factors"]
    assert before["item_factors"] != after["item_factors"]


@pytest.mark.parametrize("biases", [False, True])
def test_a_solution_comes_back_as_it_was_written(tmp_path: Path, biases: bool) -> None:
    made = solution(biases=biases)
    manifest = write_solution(tmp_path / "s", made)
    back = read_solution(tmp_path / "s")
    assert back.factors.digests() == made.factors.digests()
    assert (back.users, back.items) == (made.users, made.items)
    assert back.popular.tolist() == made.popular.tolist()
    assert back.manifest == manifest
    assert back.manifest.hyperparameters == MANIFEST.hyperparameters
    assert isinstance(back.manifest.hyperparameters["alpha"], float)
    assert len(manifest.files) == (7 if biases else 5)


def test_equal_solutions_are_equal_bytes_and_a_rewrite_changes_nothing(tmp_path: Path) -> None:
    write_solution(tmp_path / "a", solution(biases=True))
    write_solution(tmp_path / "a", solution())
    write_solution(tmp_path / "b", solution())
    assert artifact_digest(tmp_path / "a") == artifact_digest(tmp_path / "b")
    write_solution(tmp_path / "b", solution(seed=1))
    assert artifact_digest(tmp_path / "a") != artifact_digest(tmp_path / "b")


def test_the_artifact_digest_is_that_of_its_documented_json(tmp_path: Path) -> None:
    import hashlib

    write_solution(tmp_path, solution())
    listed = {path.name: sha256_file(path) for path in tmp_path.iterdir()}
    assert artifact_digest(tmp_path) == hashlib.sha256(canonical_json(listed)).hexdigest()


def test_a_raw_id_never_gets_into_a_solution_and_is_not_named() -> None:
    made = solution()
    with pytest.raises(BadInput, match="1 users are not pseudonyms") as caught:
        Solution(
            made.factors, (*made.users[:3], "zoe@example.org"), made.items, made.popular, MANIFEST
        )
    assert "zoe" not in str(caught.value)


@pytest.mark.parametrize(
    "change",
    [
        {"users": pseudonyms(5)},
        {"users": pseudonyms(4)[::-1]},
        {"items": ("a", "a", "b")},
        {"popular": np.array([0, 1, 1], dtype=np.int32)},
        {"popular": np.array([0, 1, 3], dtype=np.int32)},
        {"popular": np.array([0, 1, 2], dtype=np.int64)},
    ],
)
def test_id_lists_must_fit_their_factors(change: dict[str, object]) -> None:
    made = solution()
    parts = {
        name: getattr(made, name) for name in ("factors", "users", "items", "popular", "manifest")
    }
    with pytest.raises(BadInput):
        Solution(**{**parts, **change})


def rehash(folder: Path, name: str) -> None:
    """Forge the manifest so that a check behind the digest has to speak."""
    manifest = json.loads((folder / "manifest.json").read_bytes())
    manifest["files"][name] = sha256_file(folder / name)
    (folder / "manifest.json").write_bytes(canonical_json(manifest) + b"\n")


def replace(name: str, array: np.ndarray) -> Callable[[Path], None]:
    def act(folder: Path) -> None:
        with (folder / name).open("wb") as stream:
            np.save(stream, array, allow_pickle=True)
        rehash(folder, name)

    return act


def rewrite(name: str, content: bytes) -> Callable[[Path], None]:
    def act(folder: Path) -> None:
        (folder / name).write_bytes(content)
        rehash(folder, name)

    return act


def link(folder: Path) -> None:
    target = folder / "users.txt"
    target.rename(folder.parent / "elsewhere.txt")
    target.symlink_to(folder.parent / "elsewhere.txt")


def one_bit(folder: Path) -> None:
    content = bytearray((folder / "item_factors.npy").read_bytes())
    content[-1] ^= 1
    (folder / "item_factors.npy").write_bytes(content)


def appended(folder: Path) -> None:
    content = (folder / "item_factors.npy").read_bytes()
    rewrite("item_factors.npy", content + b"one more row")(folder)


def huge_header(folder: Path) -> None:
    content = (folder / "item_factors.npy").read_bytes()
    assert b"(3, 5)" in content
    rewrite("item_factors.npy", content.replace(b"(3, 5)", b"(9, 5)"))(folder)


def unrecorded(folder: Path) -> None:
    np.save(folder / "user_biases.npy", np.ones(4, np.float32))


def one_sided(folder: Path) -> None:
    unrecorded(folder)
    rehash(folder, "user_biases.npy")


TAMPERED: list[tuple[str, Callable[[Path], object], str]] = [
    ("one bit of a factor", one_bit, "item_factors.npy: differs"),
    ("an extra file", lambda f: (f / "extra.bin").write_bytes(b"x"), "extra.bin: no part"),
    ("a hidden file", lambda f: (f / ".note").write_bytes(b"x"), r"\.note: no part"),
    ("a folder", lambda f: (f / "code").mkdir(), "code: not a plain file"),
    ("a link", link, "users.txt: not a plain file"),
    ("a missing file", lambda f: (f / "popular.npy").unlink(), "unrecorded: popular.npy"),
    ("no manifest", lambda f: (f / "manifest.json").unlink(), "manifest.json: missing"),
    ("no JSON", lambda f: (f / "manifest.json").write_bytes(b"{"), "not a manifest"),
    ("an unrecorded array", unrecorded, "unrecorded: user_biases.npy"),
    ("biases on one side", one_sided, "unrecorded: item_biases.npy"),
    ("float64", replace("item_factors.npy", np.ones((3, 5))), "not a C-ordered <f4"),
    ("a pickle", replace("item_factors.npy", np.array([[{}]], dtype=object)), "item_factors.npy"),
    ("Fortran order", replace("item_factors.npy", np.ones((5, 3), np.float32).T), "C-ordered"),
    ("not finite", replace("item_factors.npy", np.full((3, 5), np.nan, np.float32)), "not finite"),
    ("a row too many", replace("item_factors.npy", np.ones((4, 5), np.float32)), "3 items for 4"),
    ("bytes after the array", appended, "its length is not that of its shape"),
    ("a header that claims more", huge_header, "its length is not that of its shape"),
    ("no array", rewrite("popular.npy", b"hello"), "popular.npy: not an array"),
    ("a raw id", rewrite("users.txt", b"a\nb\nc\nd\n"), "4 users are not pseudonyms"),
    ("no last newline", rewrite("users.txt", b"a"), "not ASCII lines"),
    ("items that are no list", rewrite("items.json", b'{"a": 1}'), "not ASCII lines"),
    ("items that are no text", rewrite("items.json", b"[1, 2, 3]"), "not strictly ascending"),
]


@pytest.mark.parametrize(
    ("act", "rule"), [(a, r) for _, a, r in TAMPERED], ids=[name for name, _, _ in TAMPERED]
)
def test_a_folder_that_was_tampered_with_is_refused(
    tmp_path: Path, act: Callable[[Path], object], rule: str
) -> None:
    folder = tmp_path / "solution"
    write_solution(folder, solution())
    act(folder)
    with pytest.raises(ArtifactCorrupt, match=rule):
        read_solution(folder)


def test_a_manifest_with_an_unknown_key_or_format_is_refused(tmp_path: Path) -> None:
    for change in ({"format": 2}, {"pickle": "x"}):
        write_solution(tmp_path, solution())
        manifest = json.loads((tmp_path / "manifest.json").read_bytes()) | change
        (tmp_path / "manifest.json").write_bytes(canonical_json(manifest))
        with pytest.raises(ArtifactCorrupt, match=r"manifest\.json"):
            read_solution(tmp_path)


def test_size_caps_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from lethe.solutions import factors

    write_solution(tmp_path, solution())
    monkeypatch.setitem(factors._CAPS, "users.txt", 10)
    with pytest.raises(ArtifactCorrupt, match=r"users\.txt: not a plain file of at most 10 bytes"):
        read_solution(tmp_path)


def test_a_digest_of_nothing_or_of_a_link_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArtifactCorrupt, match="empty"):
        artifact_digest(tmp_path)
    (tmp_path / "link").symlink_to("/etc/hostname")
    with pytest.raises(ArtifactCorrupt, match="link: not a plain file"):
        artifact_digest(tmp_path)


def test_nothing_foreign_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "thesis.doc").write_bytes(b"x")
    with pytest.raises(ArtifactCorrupt, match=r"thesis\.doc"):
        write_solution(tmp_path, solution())
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.doc"]
