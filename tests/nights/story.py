"""The mission, night by night, in one workspace and with the real tools.

night 2  one person is erased, another too, one objects, one wavers, one is under a legal hold
night 3  the hold ends, the objection is withdrawn, an erased person returns; and between this
         night's verification and its promotion somebody else asks to be erased
night 4  finishes what night 3 could not, beside a late file with rows of an erased person
night 5  finds another such late file, and nothing else

What is in a file, a database or a model is looked up with the code of `traces.py`, which shares
nothing with what it judges; which rows must be in the data is worked out by `expected`.
"""

from __future__ import annotations

import subprocess
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from lethe.estate.canaries.roll import Canaries
from lethe.interactions.rights.identity import Identities, pseudonym
from lethe.interactions.rights.standing import Action, Request
from tests.nights import shop, traces
from tests.nights.conftest import Place, Saved
from tests.nights.shop import BYSTANDER, ERASED, HASTY, HELD, LATE, OBJECTING, WAVERING

REFUSED = 1
CONSENT = int(datetime(2025, 4, 2, tzinfo=UTC).timestamp())


@dataclass
class Story:
    """The workspace, and what was seen after each night."""

    place: Place
    prefect: Path
    landed: list[shop.Row]
    seen: dict[int, dict[str, Any]] = field(default_factory=dict)
    said: list[str] = field(default_factory=list)
    marks: dict[int, int] = field(default_factory=dict)

    def land(self, name: str, rows: Iterable[shop.Row]) -> None:
        """The shop's export of a day."""
        rows = list(rows)
        self.landed += rows
        shop.export(self.place.landing / f"{name}.csv.gz", rows)

    def after(self, night: int, said: str) -> None:
        """Look at everything once a night is over."""
        place = self.place
        self.said.append(said)
        self.marks[night] = len(self.landed)
        champion = place.alias("champion")
        assert champion is not None
        self.seen[night] = {
            "said": said,
            "champion": champion,
            "manifest": place.manifest(champion),
            "users": place.users(champion),
            "rows": rows_in(place),
            "versions": place.versions(),
            "requests": [
                (str(state.entry.action), state.state, state.rows_removed)
                for state in place.register().requests()
            ],
            "certificate": place.state / f"certificates/version-{champion}.json",
            "told": place.told(),
            "traces": {
                person: traces.found(place.root, names_of(place, person))
                for person in (ERASED, LATE, HELD, HASTY)
            },
        }


def names_of(place: Place, person: str) -> list[str]:
    """A person's raw id and the pseudonym of the first life."""
    return [person, place.first_life(person)]


def rows_in(place: Place) -> Counter[str]:
    """People's rows by pseudonym in the data, read without the store's code."""
    found: Counter[str] = Counter()
    for path in place.root.glob("data/interactions/????-??/*.parquet"):
        found.update(pq.read_table(path, columns=["user"])["user"].to_pylist())
    for canary in Canaries(place.state / "canaries.json", place.keys()).pseudonyms():
        del found[canary]
    return found


def expected(
    story: Story, night: int, gone: Iterable[str], returned: Iterable[str] = ()
) -> Counter[str]:
    """Rows by pseudonym that must be in the data: landed, less the erased, plus new lives."""
    key, gone, returned = story.place.keys().pseudonym, set(gone), set(returned)
    rows: Counter[str] = Counter()
    for user, _, second in set(story.landed[: story.marks[night]]):
        if user in returned and second >= CONSENT:
            rows[pseudonym(key, user, 1)] += 1
        elif user not in gone:
            rows[pseudonym(key, user, 0)] += 1
    return rows


def tell(first_night: Saved, prefect: Path) -> Story:
    """All nights, one after the other."""
    place = first_night.restore()
    story = Story(place, prefect, shop.history())
    story.after(1, "")
    _second_night(story)
    _third_night(story)
    _fourth_night(story)
    story.land("late-again", shop.rows_of(ERASED, 12.5))
    story.after(5, place.run("night"))
    return story


def _second_night(story: Story) -> None:
    place = story.place
    place.ask("erase", ERASED, LATE)
    place.ask("object", OBJECTING, WAVERING)
    place.ask("restrict", HELD)
    place.ask("erase", HELD)
    story.land("2025-03-31", [*shop.bought(30, 1, 2.0, seed=2), *shop.rows_of(ERASED, 30.2)])
    broken = [(ERASED, "item-001", -5), (BYSTANDER, "item-001", -5)]
    shop.export(place.landing / "broken.csv.gz", [*broken, *shop.rows_of(BYSTANDER, 30.9, 3)])
    story.landed += shop.rows_of(BYSTANDER, 30.9, 3)
    shop.catalogue(place.landing)
    story.after(2, place.run("night"))


def _third_night(story: Story) -> None:
    """An erasure arrives while the night waits to promote: entered in the one gap there is."""
    place = story.place
    place.ask("withdraw", WAVERING, received="2025-04-01")
    place.ask("release", HELD, received="2025-04-01")
    place.ask("reconsent", ERASED, received="2025-04-02")
    returned = [*shop.rows_of(ERASED, 31.5), *shop.rows_of(ERASED, 33.5, 6)]
    story.land("2025-04-03", [*shop.bought(31, 3, 1.0, seed=3), *returned])
    night, told, register = place.start("night"), list[str](), place.register()
    hasty = Identities(place.keys(), register.standing()).resolve([HASTY])[0].tombstone
    _read_until("verify   begins", night, told)
    with register.exclusive(wait_seconds=60):
        _read_until("promote  begins", night, told)  # and there it waits for the register
    register.append([Request(Action.ERASE, hasty, CONSENT + shop.DAY)])
    out, errors = night.communicate(timeout=240)
    said = "".join([*told, errors, out])
    assert night.returncode == REFUSED, said
    story.after(3, said)


def _read_until(text: str, night: subprocess.Popen[str], told: list[str]) -> None:
    assert night.stderr is not None
    while text not in "".join(told[-1:]):
        line = night.stderr.readline()
        assert line, "".join(told)
        told.append(line)


def _fourth_night(story: Story) -> None:
    story.land("late", shop.rows_of(LATE, 20.5))
    story.after(4, story.place.run("night"))
