"""A night that is refused: somebody objects between its verification and its promotion."""

from __future__ import annotations

import subprocess
import time

from lethe.interactions.rights.identity import Keys, tombstone
from lethe.interactions.rights.register import Register
from lethe.interactions.rights.standing import Action, Request
from tests.watched import BIN, Shop, environment


def overtaken(shop: Shop) -> str:
    """Run a night into a person's objection, entered in the one gap there is; what it said."""
    state = shop.root / ".lethe"
    register = Register.open(f"sqlite:///{state / 'register.db'}")
    pair = ((state / "keys" / f"{name}.key").read_text() for name in ("pseudonym", "tombstone"))
    naming, burying = (bytes.fromhex(text.strip()) for text in pair)
    keys = Keys(naming, burying)
    [solution] = state.rglob("solution/users.txt")
    person = solution.read_text(encoding="ascii").split()[0]
    night = subprocess.Popen(
        [BIN / "lethe", "night"], cwd=shop.root, env=environment(shop.connections), text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    told: list[str] = []
    _until("verify   begins", night, told)
    with register.exclusive(wait_seconds=60):
        _until("promote  begins", night, told)  # and there it waits for the register
    register.append([Request(Action.OBJECT, tombstone(keys.tombstone, person), int(time.time()))])
    told += night.communicate(timeout=240)
    assert night.returncode == 1, "".join(told)
    return "".join(told)


def _until(words: str, night: subprocess.Popen[str], told: list[str]) -> None:
    assert night.stderr is not None
    while words not in "".join(told[-1:]):
        line = night.stderr.readline()
        assert line, "".join(told)
        told.append(line)
