"""The sweep between nights: it works for people who can be served, and for nobody else."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from typing import Any

import pytest

import flows.erase
from lethe.desk.setting_up import initialise
from lethe.estate.outward import outbox
from lethe.estate.workspace import Workspace
from lethe.interactions.rights.register import Closure, Register
from lethe.interactions.rights.standing import CANARY, Action, Request
from lethe.stages import opening

A, B, C, D = (letter * 64 for letter in "abcd")
AT = 1_700_000_000


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    before, mask, place = dict(os.environ), os.umask(0o022), tempfile.tempdir
    made = Workspace(tmp_path_factory.mktemp("sweep") / "shop")
    initialise(made, None)
    yield made
    os.environ.clear()
    os.environ.update(before)
    os.umask(mask)
    tempfile.tempdir = place


def test_a_night_is_run_only_while_a_person_can_be_served(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    nights: list[str] = []

    def night(folder: str) -> dict[str, Any]:
        nights.append(folder)
        return {"outcome": "promoted"}

    monkeypatch.setattr(flows.erase, "retrain", night)
    register: Register = opening.open_register(workspace, opening.open_params(workspace))

    def sweep() -> str:
        return str(flows.erase.erase.fn(str(workspace.root))["outcome"])

    assert sweep() == "nothing to do"
    register.append([Request(Action.ERASE, A, AT, CANARY)])
    assert sweep() == "nothing to do"  # a canary is no person
    register.append([Request(Action.RESTRICT, B, AT)])
    register.close(Closure(2, "closed", "e" * 64, AT, 0))
    register.append([Request(Action.ERASE, B, AT)])
    assert sweep() == "nothing to do"  # no night can end what a legal hold blocks
    register.append([Request(Action.ERASE, C, AT)])
    assert sweep() == "promoted"
    opening.write_position(workspace.register_position, register.head())
    assert sweep() == "nothing to do"  # that night was refused, and another would be too
    outbox.put(workspace.outbox, "delivered", {})
    assert sweep() == "promoted"  # a request waited for a notice that was delivered since
    (workspace.outbox / "delivered").unlink()
    assert sweep() == "nothing to do"
    workspace.journal.touch()
    assert sweep() == "promoted"  # it was cut off, so it did not end
    workspace.journal.unlink()
    register.append([Request(Action.OBJECT, D, AT)])
    assert sweep() == "promoted"
    for position in (4, 5):
        register.close(Closure(position, "closed", "e" * 64, AT, 0))
    assert sweep() == "nothing to do"
    assert nights == [str(workspace.root)] * 4
