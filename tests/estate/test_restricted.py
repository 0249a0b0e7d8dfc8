"""Details that could reveal a history lie in one private file, and nowhere else."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lethe.durable import read_json
from lethe.estate.restricted import empty, forget, note, restricted_path
from lethe.estate.stores import STORES, files_of
from lethe.estate.workspace import Workspace
from lethe.gate.proof.certificate import issue, new_signing_key
from lethe.gate.proof.report import Report
from lethe.gate.proof.verification import verify
from tests.gate.proof.cases import case_of, honest, shop


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path)


@pytest.fixture(scope="module")
def refused() -> Report:
    """The factors of one item were changed, and an item that nobody retained has is listed."""
    stored = honest("als")
    learned = stored.factors
    changed = learned.item_factors.copy()
    changed[3] *= 1.5
    longer = np.concatenate([changed, np.ones_like(changed[-1:])])
    popular = np.append(stored.popular, np.int32(len(stored.items)))
    return verify(
        case_of(
            replace(
                stored,
                factors=replace(learned, item_factors=longer),
                items=(*stored.items, shop().everybody.items[-1]),
                popular=popular,
            )
        )
    )


def test_the_file_holds_what_the_certificate_and_the_reasons_do_not(
    workspace: Workspace, refused: Report
) -> None:
    path = note(workspace, 7, refused, 1_000)
    assert path == restricted_path(workspace, 7)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    noted = read_json(path)
    assert (noted["version"], noted["written"]) == (7, 1_000)
    layers = {entry["layer"]: entry["details"] for entry in noted["layers"]}
    odd = shop().everybody.items[-1]
    assert layers["structure"] == [{"item": odd, "stored": True, "retained_users": 0}]
    worst = layers["normal_equations"][0]
    assert worst["item"] == 3
    assert worst["residual"] > 1e-5
    said = " ".join((*refused.reasons, repr(refused), str(refused.facts())))
    said += issue(refused, {"a": "0" * 64}, 1, new_signing_key()).envelope.decode()
    assert odd not in said
    assert "residual': " not in said
    people = {*shop().everybody.users, *shop().erased}
    assert not any(name in path.read_text() for name in people)


def test_a_version_that_verifies_after_all_has_no_file(
    workspace: Workspace, refused: Report
) -> None:
    note(workspace, 7, refused, 1_000)
    passed = verify(case_of(honest("lightfm")))
    assert passed.reasons == ()
    assert note(workspace, 7, passed, 1_001) is None
    assert list(workspace.restricted.iterdir()) == []


def test_files_go_with_their_version_with_time_and_when_they_cannot_be_read(
    workspace: Workspace, refused: Report
) -> None:
    for version, written in ((1, 0), (2, 100), (3, 100)):
        note(workspace, version, refused, written)
    (workspace.restricted / "odd.json").write_text("{")
    assert forget(workspace, {1, 2}, now=86_450, days=1) == 3
    assert [path.name for path in workspace.restricted.iterdir()] == ["version-2.json"]
    empty(workspace)
    assert list(workspace.restricted.iterdir()) == []


def test_the_file_belongs_to_a_declared_store(workspace: Workspace, refused: Report) -> None:
    path = note(workspace, 7, refused, 1_000)
    [store] = [store for store in STORES if store.name == "restricted"]
    assert list(files_of(workspace, store)) == [path]
