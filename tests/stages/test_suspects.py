"""Who is suspected in a version, and where their histories are read."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lethe.adapters.catalogue import Catalogue, DataVersion
from lethe.estate.workspace import Workspace
from lethe.gate.proof.retained import Retained, histories, rebuild
from lethe.interactions.columns import INTERACTIONS
from lethe.interactions.rights.identity import Keys, tombstone
from lethe.interactions.rights.standing import Standing
from lethe.interactions.shards.store import ShardStore
from lethe.interactions.training.snapshot import SnapshotRules
from lethe.solutions.factors import Manifest
from lethe.stages.suspects import gather, superseded
from tests.fakes.data_versions import FakeDataVersions
from tests.fakes.interaction_store import InteractionStore

KEYS = Keys(b"p" * 32, b"t" * 32)
PEOPLE = tuple(f"{n:032x}" for n in range(1, 9))
RULES = SnapshotRules(event_weights={"view": 0.5}, maximum_weight=2).model_dump(mode="json")
DAY = 86_400


def stone(user: str) -> str:
    return tombstone(KEYS.tombstone, user)


def events(people: tuple[str, ...]) -> list[tuple[str, str, int, str, None]]:
    """Everybody views three items, one of them twice; the first person alone has item z."""
    found = [
        (user, item, (40 * k + n) * DAY, kind, None)
        for k, user in enumerate(people)
        for n, (item, kind) in enumerate(
            (("a", "view"), ("a", "view"), ("bcde"[k % 4], "buy"), ("f", "view"))
        )
    ]
    return [*found, (PEOPLE[0], "z", DAY, "buy", None)] if PEOPLE[0] in people else found


def write(folder: Path, people: tuple[str, ...]) -> None:
    store = ShardStore(folder, buckets=2)
    for table in InteractionStore([events(people)]).scan(INTERACTIONS.names):
        store.append(table)


def version(digest: str, position: int, created: int = 0) -> DataVersion:
    return DataVersion(digest, 1, 1, 1, position, "h", created)


def manifest(data_version: str) -> Manifest:
    return Manifest(
        recipe="als",
        hyperparameters={},
        seed=1,
        matrix_digest="0" * 64,
        data_version=data_version,
        register_position=3,
        register_head="h",
        environment={},
        definition=RULES,
    )


def standing(**people: tuple[int, ...]) -> Standing:
    named = {name: frozenset(stone(PEOPLE[k]) for k in rows) for name, rows in people.items()}
    return Standing(
        erased=named.get("erased", frozenset()),
        objecting=named.get("objecting", frozenset()),
        restricted=named.get("restricted", frozenset()),
        erased_at=dict.fromkeys(named.get("erased", ()), 3),
    )


def test_a_history_weighs_what_it_would_have_weighed_in_training(tmp_path: Path) -> None:
    write(tmp_path / "v", PEOPLE)
    everybody, day = rebuild(tmp_path / "v", lambda _: False, RULES)
    found = histories(tmp_path / "v", lambda _: True, everybody.items, RULES, day)
    assert (found != everybody.csr).nnz == 0
    assert found.dtype == np.float32


def test_only_the_wanted_and_only_known_items_are_read(tmp_path: Path) -> None:
    write(tmp_path / "v", PEOPLE)
    retained, day = rebuild(tmp_path / "v", lambda user: user == PEOPLE[0], RULES)
    assert "z" not in retained.items
    found = histories(tmp_path / "v", PEOPLE[0].__eq__, retained.items, RULES, day)
    assert found.shape == (1, len(retained.items))
    row = dict(zip((retained.items[k] for k in found.indices), found.data.tolist(), strict=True))
    assert row == {"a": 1.0, "b": 1.0, "f": 0.5}


def test_nobody_wanted_is_no_history(tmp_path: Path) -> None:
    write(tmp_path / "v", PEOPLE)
    assert histories(tmp_path / "v", lambda _: False, ("a", "b"), RULES, None).shape == (0, 2)


@pytest.fixture
def scene(tmp_path: Path) -> tuple[Workspace, FakeDataVersions, Retained, Manifest]:
    """Version 1 holds everybody; version 2 is without the first two, who were erased."""
    workspace, data = Workspace(tmp_path), FakeDataVersions(tmp_path)
    digests = []
    for name, people in (("old", PEOPLE), ("new", PEOPLE[2:])):
        write(tmp_path / name, people)
        data.stages[name] = (name, lambda: None)
        digests.append(data.commit(name))
    catalogue = Catalogue(workspace.catalogue)
    workspace.catalogue.parent.mkdir(parents=True, exist_ok=True)
    for k, digest in enumerate(digests):
        catalogue.add(version(digest, 3 * k, k))
    barred = {PEOPLE[2], PEOPLE[3]}
    retained = rebuild(tmp_path / "new", barred.__contains__, RULES)
    return workspace, data, retained, manifest(digests[1])


def test_what_they_left_fades_as_what_is_retained_does(scene: Any) -> None:
    workspace, data, plain, stored = scene
    fading = {**RULES, "half_life_days": 20.0}
    barred = {PEOPLE[2], PEOPLE[3]}
    retained = rebuild(workspace.root / "new", barred.__contains__, fading)
    assert retained.day == 40 * 5 + 3  # of the last who is retained, of six in the newer version
    who = standing(erased=(0,), objecting=(2,))
    recorded = stored.model_copy(update={"definition": fading})
    now = gather(workspace, data, KEYS, who, recorded, workspace.root / "new", retained)
    before = gather(workspace, data, KEYS, who, stored, workspace.root / "new", plain)
    for name in ("erased", "objecting"):
        shares = now[name].toarray()[before[name].nonzero()] / before[name].data
        ages = [203 - n for n in (0.5, 2, 3)]  # what was viewed twice was on two days
        assert shares == pytest.approx([0.5 ** (age / 20) for age in ages], rel=0.01)


def gathered(scene: Any, who: Standing) -> dict[str, Any]:
    workspace, data, retained, stored = scene
    return gather(workspace, data, KEYS, who, stored, workspace.root / "new", retained)


def test_erased_people_are_read_from_the_version_that_still_holds_them(scene: Any) -> None:
    found = gathered(scene, standing(erased=(0, 1), objecting=(2,), restricted=(3,)))
    assert {name: rows.shape[0] for name, rows in found.items()} == {
        "erased": 2,
        "objecting": 1,
        "restricted": 1,
    }
    assert all(rows.shape[1] == len(scene[2].matrix.items) for rows in found.values())


def test_nothing_of_the_older_version_stays_in_the_private_folder(scene: Any) -> None:
    gathered(scene, standing(erased=(0, 1)))
    assert not (scene[0].temporary / "superseded").exists()


def test_once_the_older_version_is_destroyed_nobody_erased_is_left_to_test(scene: Any) -> None:
    workspace, data, _, stored = scene
    data.recorded.clear()
    data.destroy(data.held() - {stored.data_version})
    assert gathered(scene, standing(erased=(0, 1))) == {}
    assert workspace.catalogue.is_file()


def test_without_requests_nobody_is_suspected(scene: Any) -> None:
    assert gathered(scene, standing()) == {}


def test_a_name_is_put_under_its_stone_once_and_nothing_is_read_for_a_group_of_nobody(
    scene: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Everybody has events in many shards: at ten million rows the stones alone took minutes."""
    asked: Counter[str] = Counter()
    read: list[Path] = []
    slow, reading = Keys.stone, histories

    def counted(keys: Keys, name: str) -> str:
        asked[name] += 1
        return slow(keys, name)

    def listened(folder: Path, *rest: Any) -> Any:
        read.append(folder)
        return reading(folder, *rest)

    monkeypatch.setattr(Keys, "stone", counted)
    monkeypatch.setattr("lethe.stages.suspects.histories", listened)
    found = gathered(scene, standing(erased=(0, 1), restricted=(3,)))
    assert set(found) == {"erased", "restricted"}
    assert set(asked.values()) == {1}
    assert [folder.name for folder in read] == ["new", "superseded"]


def test_the_newest_version_from_before_the_last_erasure_is_read() -> None:
    known = (version("a", 0), version("b", 2), version("c", 3), version("d", 9))
    held = {"a", "b", "c", "d"}
    who = standing(erased=(0,))
    assert superseded(known, held, who, manifest("c")) == known[1]
    assert superseded(known, held - {"b"}, who, manifest("c")) == known[0]
    assert superseded(known, set(), who, manifest("c")) is None
    assert superseded(known, held, standing(), manifest("c")) is None
