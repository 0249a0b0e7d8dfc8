"""Going back: only to a version that passes now, and through the same protocol as a night."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from lethe.desk.reviewing import status, verify_again
from lethe.desk.rolling_back import roll_back
from lethe.errors import BadConfiguration, Busy, PromotionRefused, VerificationRefused
from lethe.estate.keys import replace_signing_key
from lethe.estate.workspace import Workspace
from lethe.nights import judging, steps
from lethe.nights.desk import Desk
from lethe.nights.frame import under_way
from lethe.stages import opening
from tests.estate.test_batches import published
from tests.nights import shop
from tests.nights.conftest import Place, Saved

pytestmark = pytest.mark.timeout(300)


@dataclass(frozen=True)
class Two:
    """A workspace with version 2 as champion and version 1 beside it."""

    place: Place

    @property
    def workspace(self) -> Workspace:
        return Workspace.find(self.place.root)

    def desk(self) -> Desk:
        return Desk.open(self.workspace, opening.open_params(self.workspace))


@pytest.fixture(scope="module")
def kept(first_night: Saved, prefect_server: Path) -> Saved:
    """The second night trains on one more day, and its version is promoted."""
    place = first_night.restore()
    shop.export(place.landing / "2025-03-31.csv.gz", shop.bought(30, 1, 2.0, seed=2))
    place.run("night")
    assert place.alias("champion") == 2
    return first_night.keep("two-versions")


@pytest.fixture
def two(kept: Saved, monkeypatch: pytest.MonkeyPatch) -> Iterator[Two]:
    for name in ("LETHE_REGISTER_URL", "LETHE_SIGNING_KEY", "LETHE_SIGNING_KEY_FILE"):
        monkeypatch.delenv(name, raising=False)
    made = Two(kept.restore())
    yield made
    client = made.desk().versions.client  # MLflow keeps files open that the next test replaces
    registry = client._get_registry_client()  # type: ignore[no-untyped-call]
    for store in (client._tracking_client.store, registry.store):
        store.engine.dispose()


def note(place: Place, version: int) -> str:
    query = "SELECT description FROM model_versions WHERE version = ?"
    return str(place.mlflow(query, version)[0][0])


def asked_by(place: Place, version: int) -> str:
    query = "SELECT value FROM model_version_tags WHERE version = ? AND key = 'asked_by'"
    return str(place.mlflow(query, version)[0][0])


def test_a_rollback_goes_through_the_protocol_and_says_that_a_person_decided(two: Two) -> None:
    place = two.place
    told = status(two.workspace)
    assert (told["safe_set"], told["unsafe"]) == ([1], {})
    assert "Promotion: promoted by the night of" in note(place, 2)
    output = published(two.workspace.recommendations, "csv", {"a": ["b"]})
    done = roll_back(two.workspace, 1)
    assert (done["version"], done["previous"]) == (1, 2)
    assert not output.path.exists(), "of no champion any more"
    assert (place.alias("champion"), place.alias("challenger")) == (1, None)
    last = place.register().promotions()[-1]
    assert (last.intent.version, last.intent.previous_champion, last.state) == (1, 2, "done")
    assert last.intent.certificate_digest == done["digest"]
    assert (asked_by(place, 1), asked_by(place, 2)) == ("rollback", "night")
    assert "Promotion: by rollback from version 2: a person decided" in note(place, 1)
    assert status(two.workspace)["safe_set"] == [2]
    with pytest.raises(BadConfiguration, match="version 1 is the champion"):
        roll_back(two.workspace, 1)
    with pytest.raises(BadConfiguration, match="there is no version 9"):
        roll_back(two.workspace, 9)
    assert len(place.register().promotions()) == 3
    with under_way(str(place.root)) as night:
        assert not steps.is_new(night), "the next night would promote version 2 again"


def test_a_version_with_somebody_who_may_not_be_there_is_no_place_to_go_back_to(
    two: Two,
) -> None:
    two.place.ask("object", shop.OBJECTING)
    seen = status(two.workspace)
    assert seen["safe_set"] == []
    assert "1 people of its id list are excluded" in seen["unsafe"]["1"][0]
    with pytest.raises(VerificationRefused, match="no rollback, version 2 stays champion") as error:
        roll_back(two.workspace, 1)
    assert "may not train at the register's head: 1" in str(error.value)
    assert error.value.exit_code == 1
    assert two.place.alias("champion") == 2
    assert len(two.place.register().promotions()) == 2
    assert "Verdict: **REFUSED**" in note(two.place, 1)


def test_a_changed_byte_of_the_serving_code_is_refused_by_verify_and_by_promotion(
    two: Two,
) -> None:
    desk, served = two.desk(), two.place.solution(1).parents[1] / "serving.py"
    content = served.read_bytes()
    served.write_bytes(content.replace(b"k=5", b"k=6") + b"#")
    assert status(two.workspace)["unsafe"]["1"] == [
        "its stored files are not those of its certificate"
    ]
    with pytest.raises(PromotionRefused, match=r"the stored artifact is .*, the certificate is"):
        judging.promote_version(desk, 1, True, ())
    rule = r"what serves the artifact is not what Lethe writes \(serving\.py\)"
    with pytest.raises(VerificationRefused, match=rule):
        verify_again(two.workspace, 1)
    with pytest.raises(VerificationRefused, match=rule):
        roll_back(two.workspace, 1)
    assert two.place.alias("champion") == 2


def test_the_safe_set_asks_for_a_certificate_of_a_key_that_is_trusted(two: Two) -> None:
    replace_signing_key(two.workspace)
    assert status(two.workspace)["safe_set"] == [1], "the former key still counts"
    (two.workspace.keys / "signing-1.pub").unlink()
    assert status(two.workspace)["unsafe"]["1"] == ["no trusted key signed the certificate"]
    judging.certificate_path(two.workspace, 1).unlink()
    assert status(two.workspace)["unsafe"]["1"] == ["it has no certificate"]
    (two.place.solution(1) / "users.txt").write_text("")
    assert status(two.workspace)["unsafe"]["1"] == ["its files cannot be read"]


def test_a_killed_night_is_ended_before_anybody_goes_back(two: Two) -> None:
    two.workspace.journal.write_text(json.dumps({"name": "cut off", "started": 1}))
    with pytest.raises(Busy, match="`lethe night` ends it"):
        roll_back(two.workspace, 1)
    assert two.place.alias("champion") == 2
