"""What an operator installs is checked by the tools that read it, and names what there is."""

from __future__ import annotations

import configparser
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
import yaml

from lethe.desk.stack.addresses import DATABASES, addresses
from lethe.desk.stack.services import services
from lethe.estate.process import TELEMETRY_OFF
from lethe.estate.workspace import Workspace
from lethe.interactions.rights.register import Register
from lethe.interactions.rights.standing import Action, Request
from tests.watched import BIN, environment

DEPLOY = Path(__file__).parents[1] / "deploy"
UNITS = sorted((DEPLOY / "systemd").iterdir())
CODE, PLACE = "/srv/lethe/code/.venv/bin/lethe", "/srv/lethe/shop"
analyze = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed"
)


def verified(folder: Path, name: str) -> str:
    """What systemd says of a unit; nothing if all is well."""
    command = ("systemd-analyze", "verify", "--man=no", str(folder / name))
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return done.stdout + done.stderr


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """The units with the command where it is here."""
    for unit in UNITS:
        text = unit.read_text(encoding="utf-8").replace(CODE, str(BIN / "lethe"))
        (tmp_path / unit.name).write_text(text, encoding="utf-8")
    return tmp_path


@analyze
def test_systemd_has_nothing_to_say_of_the_units(installed: Path) -> None:
    assert len(UNITS) == 4
    assert {unit.name: verified(installed, unit.name) for unit in UNITS} == {
        unit.name: "" for unit in UNITS
    }


@analyze
def test_systemd_would_have_found_a_slip(installed: Path) -> None:
    unit = installed / "lethe-night.service"
    unit.write_text(unit.read_text(encoding="utf-8").replace("UMask=0077", "Umask=0o77"))
    assert "Umask" in verified(installed, unit.name)


@pytest.mark.parametrize("name", ["lethe-night.service", "lethe-erase.service"])
def test_a_service_runs_a_command_that_there_is(name: str) -> None:
    unit = configparser.RawConfigParser(strict=False)
    unit.read(DEPLOY / "systemd" / name, encoding="utf-8")
    program, *arguments = unit["Service"]["execstart"].split()
    assert program == CODE
    assert unit["Service"]["readwritepaths"] == PLACE
    assert arguments[:2] == ["--workspace", PLACE]
    # `--help` is answered only if every word before it is known.
    command = (str(BIN / "lethe"), *arguments, "--help")
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0
    command = (str(BIN / "lethe"), *arguments, "--at-once", "--help")
    assert subprocess.run(command, capture_output=True, check=False).returncode == 2


def test_both_services_are_closed_alike() -> None:
    night, erase = (
        (DEPLOY / "systemd" / f"lethe-{name}.service")
        .read_text(encoding="utf-8")
        .split("[Service]")
        for name in ("night", "erase")
    )
    assert night[1].replace("shop night", "shop night --if-asked") == erase[1]
    for name in ("pseudonym", "tombstone", "signing"):
        assert f"LETHE_{name.upper()}_KEY_FILE=%d/{name}" in night[1]
        assert f"LoadCredential={name}:" in night[1]
        assert (Workspace(Path(PLACE)).keys / f"{name}.key").name in night[1]


def linted(containerfile: Path) -> str:
    """What hadolint says of it; nothing if all is well."""
    command = (str(BIN / "hadolint"), "--no-color", str(containerfile))
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return done.stdout + done.stderr


hadolint = pytest.mark.skipif(
    not (BIN / "hadolint").exists(), reason="hadolint has no program for this platform"
)


@hadolint
def test_hadolint_has_nothing_to_say_of_the_containerfile(tmp_path: Path) -> None:
    assert linted(DEPLOY / "Containerfile") == ""
    slip = tmp_path / "Containerfile"
    slip.write_text((DEPLOY / "Containerfile").read_text().replace("USER 10001", "USER root"))
    assert "DL3002" in linted(slip)


def test_the_image_holds_all_that_a_workspace_is_made_from(tmp_path: Path) -> None:
    """What the Containerfile copies is enough for `lethe init`, and is let through to the build."""
    ignored = (DEPLOY.parent / ".dockerignore").read_text(encoding="utf-8").split()
    copies = re.findall(r"^COPY (?!--from)(.+) \S+$", (DEPLOY / "Containerfile").read_text(), re.M)
    names = " ".join(copies).split()
    assert {f"!{name}" for name in names} == {line for line in ignored if line.startswith("!")}
    image, shop = tmp_path / "image", tmp_path / "shop"
    image.mkdir()
    for name in names:
        source = DEPLOY.parent / name
        if source.is_dir():
            junk = shutil.ignore_patterns("__pycache__")
            shutil.copytree(source, image / name, symlinks=True, ignore=junk)
        else:
            shutil.copy(source, image / name)
    code = "import lethe.cli.main as m; print(m.__file__, flush=True); m.main(['init'])"
    shop.mkdir()
    done = subprocess.run(
        (sys.executable, "-c", code), cwd=shop, capture_output=True, text=True, check=False,
        env={**environment(tmp_path / "connections"), "PYTHONPATH": str(image)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(str(image))
    assert (shop / "params.yaml").is_file()


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    """The compose file, anchors followed."""
    return dict(yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8")))


def complaints(file: Path) -> str:
    """What the schema of compose files says of it; nothing if all is well."""
    command = (str(BIN / "check-jsonschema"), "--builtin-schema", "vendor.compose-spec", str(file))
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return "" if done.returncode == 0 else done.stdout + done.stderr


def test_the_compose_file_is_one_and_a_slip_in_it_is_found(tmp_path: Path) -> None:
    assert complaints(DEPLOY / "compose.yaml") == ""
    slip = tmp_path / "compose.yaml"
    text = (DEPLOY / "compose.yaml").read_text(encoding="utf-8")
    slip.write_text(text.replace("depends_on: *after_postgres", "depend_on: [postgres]", 1))
    assert "depend_on" in complaints(slip)


def test_the_compose_services_are_those_of_the_stack(
    compose: dict[str, Any], tmp_path: Path
) -> None:
    """The same servers, and each is told at least what `lethe up` tells it."""
    workspace = Workspace(tmp_path)
    workspace.keys.mkdir(parents=True)
    found = addresses(workspace)
    ours = services(workspace, found)
    assert {service.name for service in ours} == set(compose["services"])
    for service in ours:
        told = compose["services"][service.name]["environment"]
        if service.name != "postgres":
            assert TELEMETRY_OFF.items() <= told.items()
            with service.line() as line:
                assert line.environment.keys() <= told.keys()
    assert found.environment().keys() <= compose["services"]["worker"]["environment"].keys()


def test_the_compose_file_holds_no_secret_and_publishes_loopback_alone(
    compose: dict[str, Any],
) -> None:
    for service in compose["services"].values():
        for name, value in service["environment"].items():
            if any(word in name for word in ("PASSWORD", "SECRET", "AUTH_STRING")):
                assert "${" in str(value), name
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ()))
    networks = {name: one["networks"] for name, one in compose["services"].items()}
    assert networks["postgres"] == networks["worker"] == ["inside"]
    assert compose["networks"]["inside"]["internal"] is True
    script = (DEPLOY / "postgres-databases.sh").read_text(encoding="utf-8")
    for name in DATABASES:
        assert f"{name.upper()}_DATABASE_PASSWORD" in compose["services"]["postgres"]["environment"]
    assert f"for name in {' '.join(DATABASES)}; do" in script


@pytest.mark.skipif(shutil.which("psql") is None, reason="psql is not installed")
def test_the_registers_role_in_a_container_may_add_and_nothing_else(postgres: str) -> None:
    """The script for PostgreSQL's image on a real server: the owner's tables, the role's rights."""
    server = sa.make_url(postgres)
    passwords = {f"{name.upper()}_DATABASE_PASSWORD": "0123" for name in DATABASES}
    subprocess.run(
        [DEPLOY / "postgres-databases.sh"], check=True, capture_output=True,
        env={**os.environ, **passwords, "PGHOST": str(server.query["host"])},
    )  # fmt: skip
    owner = server.set(database="register")
    Register.open(owner.render_as_string(hide_password=False)).initialise()
    role = owner.set(username="register")
    register = Register.open(role.render_as_string(hide_password=False))
    register.append([Request(Action.ERASE, "a" * 64, 1_700_000_000)])
    assert register.head().position == 1
    engine = sa.create_engine(role, poolclass=sa.NullPool)
    for statement in ("DROP TABLE entries", "DELETE FROM entries", "TRUNCATE entries"):
        with pytest.raises(sa.exc.DBAPIError), engine.begin() as link:
            link.execute(sa.text(statement))
    assert register.head().position == 1
    other = sa.create_engine(owner.set(username="optuna"), poolclass=sa.NullPool)
    with pytest.raises(sa.exc.OperationalError, match="permission denied"):
        other.connect()
