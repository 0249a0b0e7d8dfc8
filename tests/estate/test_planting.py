"""Files of canaries: they suit any export, and nothing in them is anybody's."""

from __future__ import annotations

import csv
import gzip
import io
from pathlib import Path

from lethe.durable import sha256_file
from lethe.estate.canaries import planting
from lethe.interactions.columns import INTERACTIONS
from lethe.interactions.intake.reading import read_interactions, survey
from lethe.interactions.intake.rules import DropRule, IntakeRules, InteractionRules, LandedFile
from lethe.interactions.rights.identity import Identities, Keys
from lethe.interactions.rights.standing import Standing
from lethe.interactions.shards.store import ShardStore

KEYS = Keys(bytes(range(32)), bytes(range(1, 33)))
NOBODY = Identities(KEYS, Standing())
HEADER = "ITEM_ID,USER_ID,TIMESTAMP,EVENT_TYPE,EVENT_ID,NOTE"
IDS = [f"lethe-canary-{n:020x}" for n in range(6)]
RULES = IntakeRules(
    interactions=InteractionRules(drop=(DropRule(name="test", column="NOTE", starts_with="skip"),))
)


def lines(rows: int = 60) -> list[str]:
    """Seven shoppers and eleven items; a line of each kind that intake does not take."""
    good = [
        f"item-{n % 11},shopper-{n % 7},{1_700_000_000 + n},view,e{n},note {n}" for n in range(rows)
    ]
    return [
        *good,
        "item-1,shopper-1,-5,view,x,",
        "item-bad,shopper-2,1700000000,view,y,skip",
        "item-bad,shopper-3,1700000000,view,z,skip",
        "item-alone,shopper-4,1700000000,view,w,",
    ]


def landed(folder: Path, name: str = "day.csv.gz", header: str = HEADER) -> LandedFile:
    landing = folder / "landing"
    landing.mkdir(exist_ok=True)
    content = "".join(f"{line}\n" for line in [header, *lines()]).encode()
    path = landing / name
    path.write_bytes(gzip.compress(content, mtime=0) if name.endswith(".gz") else content)
    return LandedFile(path, name, "interactions", sha256_file(path), path.stat().st_size)


def made(folder: Path, who: Identities = NOBODY, history: int = 5) -> bytes:
    found = planting.template([landed(folder)], RULES, who, folder / "scratch")
    assert found is not None
    content = planting.content(found, RULES, IDS, history, folder / "scratch")
    assert content is not None
    return content


def rows_of(content: bytes) -> list[list[str]]:
    return list(csv.reader(io.StringIO(gzip.decompress(content).decode())))[1:]


def test_canaries_are_taken_in_by_the_same_rules_as_the_file_they_were_made_from(
    tmp_path: Path,
) -> None:
    planting.land(landed(tmp_path), made(tmp_path))
    found = {entry.name: entry for entry in survey(tmp_path / "landing", RULES)}
    sibling = found["day.canaries.csv.gz"]
    assert isinstance(sibling, LandedFile)
    batches = list(read_interactions(sibling, RULES))
    users = {user for batch in batches for user in batch.table["user"].to_pylist()}
    assert users == set(IDS)
    assert sum(batch.table.num_rows for batch in batches) == 30
    assert not any(batch.refused or batch.dropped for batch in batches)


def test_the_same_ids_give_the_same_bytes(tmp_path: Path) -> None:
    assert made(tmp_path) == made(tmp_path)


def test_no_two_cells_of_a_row_need_be_one_persons_and_no_event_is_copied(tmp_path: Path) -> None:
    own = {(row[0], row[2]) for row in csv.reader(lines())}
    rows = rows_of(made(tmp_path))
    assert sum((row[0], row[2]) in own for row in rows) <= 3
    assert {row[4] for row in rows} == {""}
    for one in IDS:
        items = [row[0] for row in rows if row[1] == one]
        assert len(items) == len(set(items)) == 5


def test_an_item_that_one_person_alone_met_and_rows_that_intake_leaves_out_are_not_used(
    tmp_path: Path,
) -> None:
    rows = rows_of(made(tmp_path, history=200))
    assert {row[0] for row in rows} == {f"item-{n}" for n in range(11)}
    assert not any(row[5].startswith("skip") for row in rows)
    assert "-5" not in {row[2] for row in rows}


def test_nothing_of_somebody_who_may_not_be_trained_on_is_used(tmp_path: Path) -> None:
    stone = NOBODY.resolve(["shopper-0"])[0].tombstone
    rows = rows_of(made(tmp_path, Identities(KEYS, Standing(objecting=frozenset({stone})))))
    theirs = {row[2] for row in csv.reader(lines()) if row[1] == "shopper-0"}
    assert not theirs & {row[2] for row in rows}


def test_a_file_with_an_exact_name_in_the_rules_is_no_template(tmp_path: Path) -> None:
    file = landed(tmp_path)
    only = IntakeRules(interactions=InteractionRules(files=("day.csv.gz",)))
    assert planting.usable(file, IntakeRules())
    assert not planting.usable(file, only)
    assert planting.template([file], only, NOBODY, tmp_path / "scratch") is None


def test_ids_that_a_rule_of_the_shop_drops_make_no_canaries(tmp_path: Path) -> None:
    rule = DropRule(name="form", column="USER_ID", not_matches="shopper-.*")
    rules = IntakeRules(interactions=InteractionRules(drop=(rule,)))
    assert planting.template([landed(tmp_path)], rules, NOBODY, tmp_path / "scratch") is None


def test_nothing_is_left_where_rows_were_tried(tmp_path: Path) -> None:
    made(tmp_path)
    assert list((tmp_path / "scratch").iterdir()) == []


def test_a_file_is_fresh_until_its_rows_are_in_the_data(tmp_path: Path) -> None:
    file, store = landed(tmp_path), ShardStore(tmp_path / "shards", 2)
    assert planting.fresh([file], RULES, NOBODY, store)
    people = {name: NOBODY.resolve([name])[0] for name in (f"shopper-{n}" for n in range(7))}
    for batch in read_interactions(file, RULES):
        users = [people[name].pseudonym for name in batch.table["user"].to_pylist()]
        place = INTERACTIONS.get_field_index("user")
        store.append(batch.table.set_column(place, INTERACTIONS.field(place), [users]))
    assert not planting.fresh([file], RULES, NOBODY, store)
    gone = Identities(KEYS, Standing(erased=frozenset(p.tombstone for p in people.values())))
    assert not planting.fresh([file], RULES, gone, ShardStore(tmp_path / "none", 2))
    assert not (tmp_path / "none").exists()
