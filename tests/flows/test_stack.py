"""The whole stack on loopback: a night through server and worker, killed, and run again.

Every process is real. PostgreSQL comes from the system's packages; without them this is skipped.
"""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import yaml

from lethe.adapters import studies
from lethe.adapters.solution_versions import SolutionVersions
from lethe.desk.stack import processes
from lethe.durable import read_json
from lethe.estate.process import TELEMETRY_OFF
from lethe.estate.stores import undeclared
from lethe.estate.workspace import Workspace
from lethe.interactions.rights.identity import Identities, Keys
from lethe.interactions.rights.register import Register
from lethe.interactions.rights.standing import Standing
from tests import postgres
from tests.flows.stack import Stack
from tests.nights import shop
from tests.watched import Shop

PARAMS = f"""\
canaries: {{share: 0}}
tuning:
  trials: 1
  sample_users: 50
  report_every: 0
  recipes:
{shop.ALS_SPACE}"""


@pytest.fixture(scope="module")
def stack(small_night: Shop, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    if why := postgres.missing():
        pytest.skip(why)
    folder = tmp_path_factory.mktemp("stack")
    workspace = Workspace(folder / "shop")
    made = Stack(workspace, folder / "connections")
    (folder / "params.yaml").write_text(PARAMS)
    small_night.lend(workspace.root)  # of no use to a stack, which has Prefect's in PostgreSQL
    made.lethe("init", "--params", str(folder / "params.yaml"))
    shop.catalogue(workspace.landing)
    shop.export(workspace.landing / "day-30.csv.gz", shop.history())
    try:
        yield made
    finally:
        made.lethe("down")


@pytest.mark.timeout(600)  # most of it is four servers that start on two shared cores
def test_a_killed_night_and_the_next_one_end_with_exactly_one_promotion(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = stack.lethe("up")
    assert first["started"] == ["postgres", "mlflow", "prefect", "worker"]
    _nobody_without_a_password(stack)
    _the_form_is_checked(stack)
    _secrets_are_seen_nowhere(stack)

    status, killed = stack.begin("night")
    assert status == 201
    log = stack.workspace.stack / "logs" / "worker.log"
    stack.until(lambda: "6/11 train" in log.read_text(), 120)
    assert stack.state(killed["id"]) == "RUNNING"
    services = stack.running()
    for one in processes.family(services["worker"]):
        with suppress(ProcessLookupError):
            os.kill(one.pid, signal.SIGKILL)
    assert stack.workspace.journal.is_file()

    assert stack.lethe("up")["started"] == ["worker"]
    assert stack.state(killed["id"]) == "CRASHED"
    _, again = stack.begin("night")
    stack.until(lambda: stack.state(again["id"]) in {"COMPLETED", "FAILED", "CANCELLED"}, 180)
    assert stack.state(again["id"]) == "COMPLETED", stack.logs()

    _its_artifacts_tell_progress_funnel_leaderboard_and_certificate(stack, again["id"])
    register = Register.open(stack.settings()["LETHE_REGISTER_URL"])
    assert [promotion.state for promotion in register.promotions()] == ["done"]
    assert _champion(stack) == "1"
    for name, value in {**stack.settings(), **TELEMETRY_OFF}.items():
        monkeypatch.setenv(name, value)
    _studies_are_forgotten(stack)
    _a_version_is_destroyed_with_its_files(stack)
    assert undeclared(stack.workspace) == ()

    present = [one for service in stack.running().values() for one in processes.family(service)]
    assert stack.lethe("down")["ended"] == ["worker", "prefect", "mlflow", "postgres"]
    assert not any(one.lives() for one in present)
    assert _found_in_its_files(stack) == set()
    told = stack.connections.read_text().splitlines()
    assert len(told) > 10
    assert [line for line in told if line.startswith("FAR")] == []


def _its_artifacts_tell_progress_funnel_leaderboard_and_certificate(stack: Stack, run: str) -> None:
    """That nobody is named in them is looked for in the servers' files."""
    of_the_run = {"flow_run_id": {"any_": [run]}}
    status, found = stack.prefect("/artifacts/filter", "POST", {"artifacts": of_the_run})
    assert status == 200
    told = {artifact["key"]: artifact for artifact in found}
    name = yaml.safe_load(stack.workspace.params.read_text())["name"]
    progress, funnel, board, certificate = (
        told.pop(f"{name}-{what}") for what in ("progress", "funnel", "leaderboard", "certificate")
    )
    assert told == {}
    assert (progress["type"], progress["data"], progress["description"]) == (
        "progress", 100, "ended",
    )  # fmt: skip
    facts = read_json(max(stack.workspace.reports.glob("????-*.json")))
    rows = json.loads(funnel["data"])
    assert {"part": "training", "step": "Train", "rows": facts["split"]["windows"]["train"]} in rows
    places = [row["place"] for row in json.loads(board["data"])]
    assert places == sorted(places)
    assert len(places) == 3
    assert certificate["type"] == "markdown"
    assert facts["certificate"]["digest"] in certificate["data"]
    assert f"> {facts['certificate']['claim']}" in certificate["data"]
    assert "## Proved: all 6 layers" in certificate["data"]


def _nobody_without_a_password(stack: Stack) -> None:
    known = stack.settings()
    prefect = f"{known['PREFECT_API_URL']}/admin/version"
    mlflow = f"{known['MLFLOW_TRACKING_URI']}/api/2.0/mlflow/experiments/get?experiment_id=0"
    for address, login in (
        (prefect, known["PREFECT_API_AUTH_STRING"]),
        (mlflow, _mlflow_login(known)),
    ):
        assert stack.ask(address, None)[0] == 401
        assert stack.ask(address, "lethe:wrong")[0] == 401
        assert stack.ask(address, login)[0] == 200
    import sqlalchemy as sa

    for name in ("LETHE_REGISTER_URL", "LETHE_STUDIES_URL", "LETHE_MLFLOW_DATABASE_URL"):
        database = sa.make_url(known[name])
        others = sa.make_url(known["LETHE_STUDIES_URL"]).database
        wrong = [database.set(password="wrong")]  # noqa: S106 - it must not let anybody in
        wrong += [] if database.database == others else [database.set(database=others)]
        for url in wrong:
            with pytest.raises(sa.exc.OperationalError):
                sa.create_engine(url).connect()
    engine = sa.create_engine(known["LETHE_REGISTER_URL"], poolclass=sa.NullPool)
    table = sa.inspect(engine).get_table_names()[0]
    for verb in ("DELETE FROM {}", "DROP TABLE {}", "ALTER TABLE {} DISABLE TRIGGER ALL"):
        with pytest.raises(sa.exc.ProgrammingError), engine.begin() as link:
            link.execute(sa.text(verb.format(table)))


def _mlflow_login(known: dict[str, str]) -> str:
    return f"{known['MLFLOW_TRACKING_USERNAME']}:{known['MLFLOW_TRACKING_PASSWORD']}"


def _the_form_is_checked(stack: Stack) -> None:
    for wrong in (
        {"overrides": ["no equals sign"]},
        {"trials": 0},
        {"trials": "many"},
        {"data_version": "../elsewhere"},
    ):
        status, _ = stack.begin("experiment", **wrong)
        assert status in {409, 422}, wrong


def _secrets_are_seen_nowhere(stack: Stack) -> None:
    known = read_json(stack.workspace.keys / "stack.json")["secrets"].values()
    present = [one for service in stack.running().values() for one in processes.family(service)]
    seen = [Path(f"/proc/{one.pid}/cmdline").read_text() for one in present]
    seen.append(stack.logs())
    assert not any(secret in text for secret in known for text in seen)


def _champion(stack: Stack) -> str:
    known = stack.settings()
    name = yaml.safe_load(stack.workspace.params.read_text())["name"]
    path = f"/api/2.0/mlflow/registered-models/alias?name={name}&alias=champion"
    status, found = stack.ask(f"{known['MLFLOW_TRACKING_URI']}{path}", _mlflow_login(known))
    assert status == 200
    return str(found["model_version"]["version"])


def _studies_are_forgotten(stack: Stack) -> None:
    import optuna

    address = stack.settings()["LETHE_STUDIES_URL"]
    names = optuna.get_all_study_names(address)
    assert len(names) == 1  # the killed night was taken up again
    assert studies.forget(address, names[0])
    assert not studies.forget(address, names[0])


def _a_version_is_destroyed_with_its_files(stack: Stack) -> None:
    """Through the server's proxy and past the server; as no night would, with the champion."""
    name = yaml.safe_load(stack.workspace.params.read_text())["name"]
    solutions = SolutionVersions(
        stack.workspace.tracking_uri(), stack.workspace.mlflow / "artifacts", name
    )
    models = stack.workspace.mlflow / "artifacts"

    def lists() -> list[Path]:
        return [path for path in models.rglob("users.txt") if path.is_file()]

    assert len(lists()) == 1
    assert [len(found.users) for found in solutions.id_lists()] == [100]
    solutions.set_champion(None)
    solutions.destroy(1)
    assert solutions.versions() == ()
    assert solutions.id_lists() == ()
    assert lists() == []


def _found_in_its_files(stack: Stack) -> set[str]:
    """Raw ids and pseudonyms in what the servers keep: databases, their logs ahead, our logs."""
    folder = stack.workspace.keys
    pseudonym, tombstone = (
        bytes.fromhex((folder / f"{n}.key").read_text()) for n in ("pseudonym", "tombstone")
    )
    keys = Keys(pseudonym, tombstone)
    people = [shop.customer(number) for number in range(shop.CUSTOMERS)]
    names = Identities(keys, Standing()).resolve(people)
    wanted = {name.pseudonym.encode() for name in names}
    files = [path for path in stack.workspace.stack.rglob("*") if path.is_file()]
    assert len(files) > 1000
    found = set()
    for path in files:
        content = path.read_bytes()
        hit = b"customer-0" in content or wanted & set(re.findall(rb"[0-9a-f]{32}", content))
        raw = any(bytes.fromhex(name.decode()) in content for name in wanted)
        if hit or raw:
            found.add(str(path.relative_to(stack.workspace.root)))
    return found
