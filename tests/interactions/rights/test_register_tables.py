"""The tables of a register: as the fake answers, as PostgreSQL takes them, and for good."""

from __future__ import annotations

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lethe.errors import BadRequest
from lethe.interactions.rights import ledger
from lethe.interactions.rights.register import Action, Register, Request
from tests.fakes.register import MemoryRegister
from tests.interactions.rights.place import INTENT, A, B, ask, url
from tests.postgres import fresh_schema

BATCHES = st.lists(
    st.lists(
        st.builds(ask, st.sampled_from(Action), st.sampled_from([A, B])), min_size=1, max_size=4
    ),
    max_size=6,
)
LAW = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@given(batches=BATCHES)
@settings(LAW, max_examples=25)
def test_the_fake_answers_as_the_real_register(
    tmp_path_factory: pytest.TempPathFactory, batches: list[list[Request]]
) -> None:
    _answers_alike(url(tmp_path_factory.mktemp("pair") / "r.db"), batches)


@given(batches=BATCHES)
@settings(LAW, max_examples=10)
def test_the_fake_answers_as_the_real_register_on_postgresql(
    postgres: str, batches: list[list[Request]]
) -> None:
    _answers_alike(fresh_schema(postgres), batches)


def _answers_alike(empty: str, batches: list[list[Request]]) -> None:
    real, fake = Register.open(empty), MemoryRegister()
    real.initialise()
    for batch in batches:
        answers: list[object] = []
        for side in (real, fake):
            try:
                answers.append(side.append(batch))
            except BadRequest:
                answers.append("refused")
        assert answers[0] == answers[1]
    assert (fake.entries(), fake.head()) == (real.entries(), real.head())
    assert fake.standing() == real.standing()
    for side in (real, fake):
        side.done(side.intend(INTENT), 6)
        side.abort(side.intend(INTENT), "why", 7)
        side.intend(INTENT)
    assert fake.promotions() == real.promotions()
    assert fake.open_intents() == real.open_intents()


# What a database of ours looks like for good: it can be added to and never changed.
SCHEMA = {
    "entries": "position BIGINT PK, action VARCHAR(24), tombstone VARCHAR(64), received BIGINT, "
    "due BIGINT, reason VARCHAR(64), previous VARCHAR(64), digest VARCHAR(64)",
    "extensions": "number BIGINT PK, position BIGINT UNIQUE, due BIGINT, reason VARCHAR(64), "
    "at BIGINT, previous VARCHAR(64), digest VARCHAR(64)",
    "merges": "number BIGINT PK, one VARCHAR(64), other VARCHAR(64), position BIGINT, at BIGINT, "
    "previous VARCHAR(64), digest VARCHAR(64)",
    "purges": "id INTEGER PK COUNTS, position BIGINT, rows BIGINT",
    "closures": "position BIGINT PK, outcome VARCHAR(16), evidence VARCHAR(128), at BIGINT, "
    "rows_removed BIGINT",
    "intents": "id INTEGER PK COUNTS, version BIGINT, artifact_digest VARCHAR(64), "
    "certificate_digest VARCHAR(64), position BIGINT, previous_champion BIGINT NULL, at BIGINT",
    "outcomes": "intent BIGINT PK, state VARCHAR(16), reason TEXT NULL, at BIGINT",
}


def _described(column: sa.Column[object]) -> str:
    words = [column.name, str(column.type)]
    words += ["PK"] * column.primary_key + ["NULL"] * bool(column.nullable)
    words += ["UNIQUE"] * bool(column.unique)
    counts = column.primary_key and column.autoincrement is not False
    return " ".join(words + ["COUNTS"] * counts)


def test_the_tables_are_these_and_no_others() -> None:
    found = {
        name: ", ".join(_described(column) for column in table.columns)
        for name, table in ledger.ENTRIES.metadata.tables.items()
    }
    assert found == SCHEMA


def test_the_tables_can_be_made_on_postgresql() -> None:
    dialect = sa.dialects.registry.load("postgresql")()
    made = [
        str(sa.schema.CreateTable(table).compile(dialect=dialect))
        for table in (ledger.ENTRIES, ledger.PURGES, ledger.CLOSURES, ledger.INTENTS)
    ]
    assert "position BIGINT NOT NULL" in made[0]
    assert "id SERIAL NOT NULL" in made[3]


def test_a_write_begins_at_once_and_a_read_does_not(on_sqlite: Register) -> None:
    """SQLite would otherwise let two writers begin, and refuse one of them in the middle."""
    said: list[str] = []

    def hear(*event: object) -> None:
        said.append(str(event[2]))

    sa.event.listen(on_sqlite.engine, "before_cursor_execute", hear)
    on_sqlite.head()
    assert [line for line in said if line.startswith("BEGIN")] == ["BEGIN"]
    said.clear()
    on_sqlite.record_purge(on_sqlite.append([ask(Action.ERASE, A)]).first or 0, 1)
    begun = [line for line in said if line.startswith("BEGIN")]
    written = [line for line in said if line.startswith("INSERT")]
    assert begun.count("BEGIN IMMEDIATE") == len(written) == 2
