"""What a served model answers for people who are suppressed, and without a list it can trust."""

from __future__ import annotations

import functools
import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mlflow.exceptions import MlflowException

from lethe.adapters.packing import model_folder
from lethe.estate.outward import suppression
from lethe.solutions.factors import Factors, Manifest, Solution, write_solution

SOURCE = (Path(model_folder.__file__).parents[1] / "serving.py").read_text(encoding="utf-8")
USERS = tuple(f"{n:032x}" for n in (0xA1, 0xB2, 0xC3, 0xD4))
STRANGER = "d" * 32
ANN, BOB = USERS[:2]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A solution of four users."""
    draw = np.random.default_rng(1)
    factors = Factors(*(draw.normal(size=(n, 4)).astype(np.float32) for n in (len(USERS), 5)))
    manifest = Manifest(
        recipe="als", hyperparameters={}, seed=1, matrix_digest="0" * 64, data_version="f.dir",
        register_position=3, register_head="e" * 64, environment={},
    )  # fmt: skip
    popular = np.array([3, 0, 4, 1, 2], dtype=np.int32)
    place = tmp_path_factory.mktemp("serving") / "solution"
    write_solution(place, Solution(factors, USERS, ("a", "b", "c", "d", "e"), popular, manifest))
    return place


class Server:
    """The model, running; `source` is what MLflow would run."""

    def __init__(self, folder: Path, place: Path, source: str = SOURCE) -> None:
        names: dict[str, Any] = {"__name__": "serving"}
        exec(compile(source, "serving.py", "exec"), names)  # noqa: S102 - as MLflow runs it
        self.model = names["Recommender"]()
        self.model.load_context(SimpleNamespace(artifacts={"solution": str(folder)}))
        self.list, self.position = place / "suppressed", 0
        self.versions = [hashlib.sha256((folder / "manifest.json").read_bytes()).hexdigest()]

    def suppress(self, *users: str) -> None:
        self.position += 1
        suppression.write(self.list, self.position % 10, self.versions, users)

    def answer(self, user: str, **columns: Any) -> bytes:
        """All that comes back but the name that was asked for."""
        asked = pd.DataFrame({"user": [user], **columns})
        found = self.model.predict(None, asked)
        assert set(found["user"]) == {user}
        return bytes(found.drop(columns="user").to_json(orient="split").encode())


@pytest.fixture
def serve(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Server]:
    monkeypatch.setenv("LETHE_SUPPRESSED", str(tmp_path / "suppressed"))
    return functools.partial(Server, folder, tmp_path)


# --- what must hold, of the model as it is and of none of its mutants ----------------------------


def a_suppressed_person_is_answered_as_a_stranger_is(server: Server) -> None:
    server.suppress(ANN)
    for columns in ({}, {"k": [1]}, {"k": [99]}, {"k": [None]}):
        assert server.answer(ANN, **columns) == server.answer(STRANGER, **columns)
        assert server.answer(BOB, **columns) != server.answer(STRANGER, **columns)


def a_running_server_obeys_a_list_that_was_replaced(server: Server) -> None:
    server.suppress(ANN)
    size = server.list.stat().st_size
    server.answer(ANN)
    server.suppress(BOB)
    assert server.list.stat().st_size == size, "a size that changed would show by itself"
    assert server.answer(BOB) == server.answer(STRANGER) != server.answer(ANN)
    server.suppress()
    assert server.answer(BOB) != server.answer(STRANGER)


def a_running_server_obeys_a_list_that_was_written_over(server: Server) -> None:
    server.suppress(ANN)
    before = server.list.stat()
    server.answer(ANN)
    kept = server.list.read_bytes()
    server.suppress(BOB)
    other = server.list.read_bytes()
    server.list.write_bytes(kept)
    server.answer(ANN)
    inode = server.list.stat().st_ino
    server.list.write_bytes(other)
    os.utime(server.list, ns=(before.st_atime_ns, server.list.stat().st_mtime_ns + 1))
    assert server.list.stat().st_ino == inode
    assert server.answer(BOB) == server.answer(STRANGER) != server.answer(ANN)


def a_list_that_is_gone_stops_a_running_server(server: Server) -> None:
    server.suppress(ANN)
    server.answer(BOB)
    server.list.unlink()
    refused(server)


def refused(server: Server) -> None:
    """Nobody is answered, known or not; the message says which rule, and of whom nothing."""
    for user in (ANN, BOB, STRANGER):
        with pytest.raises(MlflowException, match="LETHE_SUPPRESSED: ") as error:
            server.answer(user)
        assert user not in str(error.value)


def a_list_that_is_not_whole_stops_everything(server: Server) -> None:
    server.suppress(ANN, BOB)
    whole = server.list.read_bytes()
    lines = whole.splitlines(keepends=True)
    person = [n for n, line in enumerate(lines) if line.startswith(b"person")]
    version = next(n for n, line in enumerate(lines) if line.startswith(b"version"))
    spoiled = {
        "nothing": b"",
        "another format": whole.replace(b"suppressed 1", b"suppressed 2"),
        "cut off": whole[:-9],
        "a line lost": b"".join(lines[: person[0]] + lines[person[0] + 1 :]),
        "twice": b"".join([*lines[: person[1]], lines[person[0]], *lines[person[1] + 1 :]]),
        "more after its end": whole + b"person " + b"0" * 32 + b"\n",
        "another version": whole.replace(lines[version], b"version " + b"0" * 64 + b"\n"),
        "no version": whole.replace(lines[version], b""),
        "words": b"\xff\xfe",
    }
    for what, content in spoiled.items():
        assert content != whole, what
        server.list.write_bytes(content)
        refused(server)
    server.list.write_bytes(whole)
    assert server.answer(ANN) == server.answer(STRANGER)


CHECKS = (
    a_suppressed_person_is_answered_as_a_stranger_is,
    a_running_server_obeys_a_list_that_was_replaced,
    a_running_server_obeys_a_list_that_was_written_over,
    a_list_that_is_gone_stops_a_running_server,
    a_list_that_is_not_whole_stops_everything,
)
MUTANTS = {
    "the list is not asked": (
        "row = None if hidden else self.rows.get(user)",
        "row = self.rows.get(user)",
    ),
    "a suppressed person gets scores": (
        "np.full(len(self.items), np.nan, np.float32)",
        "np.full(len(self.items), 0.5 if hidden else np.nan, np.float32)",
    ),
    "the list is read once": (
        "self.last_read[:1] != (_state(os.stat(path)),)",
        "not self.last_read",
    ),
    "a list of the same size counts as the same": (
        "return file.st_dev, file.st_ino, file.st_mtime_ns, file.st_size",
        "return (file.st_size,)",
    ),
    "the time of a change does not count": ("file.st_mtime_ns, ", ""),
    "without a list everybody is served": (
        "raise MlflowException(reason) from None",
        'return b"", frozenset()',
    ),
    "a spoiled list counts as an empty one": (
        'raise MlflowException(f"{SUPPRESSED}: the file is not a whole list of suppressed people")',
        'return b"", frozenset(VERSIONS), frozenset()',
    ),
    "the count at its end is not compared": ("len(people) != int(found[4]) or ", ""),
    "a version that the list was not made for serves": (
        "if self.identity not in versions:",
        "if False:",
    ),
}


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_it_holds_that(check: Callable[[Server], None], serve: Callable[..., Server]) -> None:
    check(serve())


@pytest.mark.parametrize("mutant", MUTANTS)
def test_no_mutant_of_the_served_code_passes(mutant: str, serve: Callable[..., Server]) -> None:
    before, after = MUTANTS[mutant]
    versions = f"VERSIONS = {serve().versions!r}\n"
    assert before in SOURCE
    source = SOURCE.replace(before, after).replace("MANIFEST =", f"{versions}MANIFEST =", 1)
    failed = []
    for check in CHECKS:
        server = serve(source)
        server.list.unlink(missing_ok=True)
        try:
            check(server)
        except (AssertionError, MlflowException, pytest.fail.Exception):
            failed.append(check.__name__)
    assert failed


@settings(deadline=None, max_examples=30)
@given(hidden=st.sets(st.sampled_from([*USERS, STRANGER])))
def test_whoever_is_on_the_list_is_a_stranger_and_nobody_else(
    folder: Path, tmp_path_factory: pytest.TempPathFactory, hidden: set[str]
) -> None:
    place = tmp_path_factory.mktemp("list")
    server = Server(folder, place)
    served = {user: server.answer(user) for user in USERS}
    server.suppress(*hidden)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LETHE_SUPPRESSED", str(server.list))
        for user in USERS:
            expected = server.answer(STRANGER) if user in hidden else served[user]
            assert server.answer(user) == expected


def test_a_variable_that_names_no_file_stops_everything(
    serve: Callable[..., Server], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    server = serve()
    for value in ("", str(tmp_path), str(tmp_path / "elsewhere")):
        monkeypatch.setenv("LETHE_SUPPRESSED", value)
        refused(server)
    monkeypatch.delenv("LETHE_SUPPRESSED")
    assert server.answer(ANN) != server.answer(STRANGER)


def test_the_model_that_mlflow_loads_obeys_while_it_runs(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow

    model_folder.write(folder, tmp_path / "model", "m-1")
    loaded = mlflow.pyfunc.load_model(str(tmp_path / "model"))
    server = Server(folder, tmp_path)
    server.model = SimpleNamespace(predict=lambda _, asked: loaded.predict(asked))
    monkeypatch.setenv("LETHE_SUPPRESSED", str(server.list))
    a_running_server_obeys_a_list_that_was_replaced(server)
    a_list_that_is_gone_stops_a_running_server(server)


# --- the file ------------------------------------------------------------------------------------


def test_the_list_names_nobody_and_nobody_else_can_read_it(tmp_path: Path) -> None:
    path = tmp_path / "suppressed"
    suppression.write(path, 4, ["a" * 64], USERS)
    text = path.read_text()
    assert path.stat().st_mode & 0o777 == 0o600
    for user in USERS:
        assert user not in text
        assert hashlib.sha256(user.encode()).hexdigest()[:16] not in text
    people = [line for line in text.splitlines() if line.startswith("person ")]
    assert people == sorted(people)
    found = suppression.read(path)
    assert found is not None
    assert (found.position, len(found.people), found.versions) == (4, 4, frozenset({"a" * 64}))
    assert all(found.names(user) for user in USERS)
    assert not found.names(STRANGER)


def test_a_list_that_says_the_same_is_left_alone_and_any_other_has_a_salt_of_its_own(
    tmp_path: Path,
) -> None:
    path = tmp_path / "suppressed"
    suppression.write(path, 4, ["a" * 64], [ANN])
    first = path.read_bytes(), path.stat().st_ino
    suppression.write(path, 4, ["a" * 64], [ANN])
    assert (path.read_bytes(), path.stat().st_ino) == first
    suppression.write(path, 5, ["a" * 64], [ANN])
    assert not set(first[0].split()) & {
        word for word in path.read_bytes().split() if len(word) == 32
    }
