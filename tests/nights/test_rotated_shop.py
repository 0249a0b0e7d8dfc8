"""The pseudonym key is replaced on a whole shop: real DVC, real MLflow, killed on the way."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator

import pyarrow.parquet as pq
import pytest

from lethe.adapters.catalogue import Catalogue
from lethe.adapters.data_versions import DataVersions
from lethe.desk.backups.restoring import restore
from lethe.desk.estate.replacing import replace_key
from lethe.errors import RefusedByGate, WrongKey
from lethe.estate.keys import keys_before, open_keys
from lethe.estate.renaming import name_keys
from lethe.estate.workspace import Workspace
from lethe.interactions.rights.identity import Keys
from lethe.stages import opening
from tests.kills import dying_at
from tests.nights import shop, traces
from tests.nights.conftest import Place, Saved, let_go_of_databases
from tests.nights.shop import BYSTANDER, OBJECTING

pytestmark = pytest.mark.timeout(300)

NEWCOMER = shop.customer(5_000)
CALLS = [
    (Catalogue, "_write"),
    (shutil, "rmtree"),
    (DataVersions, "name_output"),
    (DataVersions, "destroy"),
    (DataVersions, "sweep"),
    (name_keys, "write_json"),
]


@pytest.fixture
def place(first_night: Saved, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    for name in ("LETHE_REGISTER_URL", "LETHE_PSEUDONYM_KEY", "LETHE_NAMES_KEY"):
        monkeypatch.delenv(name, raising=False)
    yield first_night.restore()
    let_go_of_databases()


def rows_in(place: Place, keys: Keys) -> Counter[tuple[str, str, int]]:
    """Every row by its person's inner name, read without the store's code."""
    found: Counter[tuple[str, str, int]] = Counter()
    for path in place.root.glob("data/interactions/????-??/*.parquet"):
        table = pq.read_table(path, columns=["user", "item", "timestamp"]).to_pydict()
        found.update(zip(keys.inner(table["user"]), table["item"], table["timestamp"], strict=True))
    return found


def test_a_shop_goes_on_under_new_names(place: Place) -> None:
    """Killed twice, with a file in landing and an objection of somebody without a row."""
    workspace = Workspace(place.root)
    before = open_keys(workspace)
    rows, old = rows_in(place, before), place.users(1)
    backup = place.root.parent / "before-the-rotation.tar.gz"
    backup.unlink(missing_ok=True)
    place.run("backup", str(backup))
    place.ask("object", NEWCOMER, OBJECTING)
    late = [*shop.bought(30, 1, 2.0, seed=2), *shop.rows_of(NEWCOMER, 30.5)]
    shop.export(place.landing / "2025-03-31.csv.gz", late)

    for at in (3, 1):  # after the catalogue names the new ones; then once more, further on
        assert dying_at(at, CALLS, lambda: replace_key(workspace, "pseudonym")) > at
        with pytest.raises(RefusedByGate, match="has not ended"):
            open_keys(workspace)
    let_go_of_databases()
    told = place.json("keys", "replace", "pseudonym")
    assert (told["resumed"], told["versions_under_former_names"]) == (True, 1)

    keys = open_keys(workspace)
    assert rows_in(place, keys) == rows
    assert [one.names for one in Catalogue(workspace.catalogue).list()] == [keys.generation]
    assert opening.open_data(workspace).held() == {
        one.digest for one in Catalogue(workspace.catalogue).list()
    }
    former = before.name(BYSTANDER, 0)
    for path in traces.found(place.root, [former]):
        assert path == ".lethe/vault.db" or path.startswith(".lethe/mlflow/"), path
    assert place.users(1) == old, "a solution version stays what it is"
    assert place.alias("champion") == 1

    params = place.root / "params.yaml"
    params.write_text(params.read_text().replace("tolerance: 0.05", "tolerance: 0.5"))
    said = place.run("night")
    assert "version 2 is champion" in said
    assert place.versions() == [2], "the version under former names is destroyed"
    newcomer = keys.name(NEWCOMER, 0)
    assert any(user == keys.inner([newcomer])[0] for user, *_ in rows_in(place, keys))
    assert newcomer not in place.users(2), "the objection was entered before the first row came"
    assert keys.name(OBJECTING, 0) not in place.users(2)
    assert keys.name(BYSTANDER, 0) in place.users(2)
    assert not old & place.users(2)
    assert place.manifest(2)["names"] == keys.generation
    assert traces.found(place.root, [former]) == [".lethe/vault.db"], "which keeps inner names"
    with pytest.raises(WrongKey, match="another name key"):
        restore(workspace, backup)
    assert keys_before(workspace) == keys
