"""The doors seen from the street: help, options, exit codes, and what is said of a failure."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import click
import pytest

from lethe.cli import nights, rights, setting_up, versions
from lethe.cli.main import lethe
from tests.cli.door import Door
from tests.watched import Shop

ALL = (*setting_up.COMMANDS, *nights.COMMANDS, *rights.COMMANDS, *versions.COMMANDS)
VERBS = ("erase", "object", "withdraw", "restrict", "release", "reconsent")
ANOTHER_KEY = "00" * 31 + "01"


def every_command() -> Iterator[tuple[str, click.Command]]:
    for command in ALL:
        assert command.name is not None
        if isinstance(command, click.Group):
            yield from (
                (f"{command.name} {name}", inner) for name, inner in command.commands.items()
            )
        else:
            yield command.name, command


@pytest.mark.parametrize(("name", "command"), list(every_command()))
def test_every_command_and_every_option_says_what_it_does(
    door: Door, name: str, command: click.Command
) -> None:
    told = door(*name.split(), "--help")

    assert told.code == 0
    assert told.out.startswith(f"Usage: lethe {name}")
    first = (command.get_short_help_str(200) or "").strip()
    assert first.endswith((".", ")")), f"{name} does not begin with a whole sentence"
    assert len(first) <= 60, f"{name} is cut off in `lethe --help`"
    for option in command.params:
        if isinstance(option, click.Option):
            assert option.help, f"{name} {option.opts[0]} says nothing"


def test_help_lists_every_command_and_the_exit_codes(door: Door) -> None:
    told = door("--help").out

    assert all(f"  {command.name} " in told for command in ALL)
    codes = "0 done, 1 refused by a gate, 2 bad input or configuration, 3 an outside system failed"
    assert codes in " ".join(told.split())


def test_json_and_workspace_may_stand_before_or_after_the_command(shop: Shop, door: Door) -> None:
    before = door("--workspace", str(shop.root), "--json", "status")
    after = door("status", "--workspace", str(shop.root), "--json")

    assert before.code == after.code == 0
    assert before.json == after.json
    assert before.json["champion"] == 1


@pytest.mark.parametrize("arguments", [("status",), ("requests",), ("report",)])
def test_success_is_one_json_object(shop: Shop, door: Door, arguments: tuple[str, ...]) -> None:
    ended = door("--workspace", str(shop.root), "--json", *arguments)

    assert ended.code == 0
    assert ended.json
    assert "text" not in ended.json


FAILURES: dict[str, tuple[tuple[str, ...], int, str]] = {
    "no such command": (("drown",), 2, "No such command"),
    "no command at all": ((), 2, "a command is needed"),
    "no such option": (("status", "--loud"), 2, "No such option"),
    "no such version": (("verify", "9"), 2, "there is no version 9"),
    "no such version to go back to": (("rollback", "9"), 2, "there is no version 9"),
    "it is the champion": (("rollback", "1"), 2, "nothing to roll back"),
    "a key for good": (("keys", "replace", "tombstone"), 2, "'tombstone' is not one of"),
    "no report of it": (("report", "9"), 2, "there is no report of version 9"),
    "an override that is none": (("experiment", "--set", "trials"), 2, "section.key=value"),
    "an override out of bounds": (("experiment", "--set", "tuning.trials=0"), 2, "tuning.trials"),
    "an override of nothing": (("experiment", "--set", "tuning.tirals=3"), 2, "tuning.tirals"),
    "no such search space": (("experiment", "--space", "{root}/none.yaml"), 2, "none.yaml is miss"),
    "no such data version": (("experiment", "--data", "ffff"), 2, "0 data versions start with"),
    "parameters are there": (("init", "--params", "{params}"), 2, "has a params.yaml already"),
    "no such file": (("erase", "--file", "{root}/nobody.txt"), 2, "No such file"),
    "nothing asked for": (("erase",), 2, "nothing was asked for"),
}


@pytest.mark.parametrize("case", FAILURES)
@pytest.mark.parametrize("as_json", [False, True], ids=["text", "json"])
def test_a_failure_is_one_sentence_and_the_right_code(
    shop: Shop, door: Door, case: str, as_json: bool
) -> None:
    arguments, code, sentence = FAILURES[case]
    filled = [part.format(root=shop.root, params=shop.root / "params.yaml") for part in arguments]
    ended = door("--workspace", str(shop.root), *(["--json"] if as_json else []), *filled)

    assert ended.code == code
    if as_json:
        assert ended.json["exit_code"] == code
        assert sentence in str(ended.json["error"])
    else:
        assert ended.out == ""
        assert ended.err.startswith("lethe: ")
        assert sentence in ended.err


def test_an_audit_without_a_champion_is_refused(
    tmp_path: Path, door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flows.own_server.own_server", lambda: nullcontext(lambda: None))
    assert door("init", str(tmp_path / "new")).code == 0
    ended = door("--workspace", str(tmp_path / "new"), "audit")

    assert (ended.code, ended.out) == (2, "")
    assert "there is no champion yet; run a night first" in ended.err


def test_outside_a_workspace_every_command_says_so(empty: Path, door: Door) -> None:
    ended = door("--workspace", str(empty), "status")

    assert (ended.code, ended.out) == (2, "")
    assert "is no workspace; `lethe init` makes one" in ended.err
    assert list(empty.iterdir()) == []


def test_a_wrong_key_is_refused_before_anything_is_entered(
    shop: Shop, door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LETHE_PSEUDONYM_KEY", ANOTHER_KEY)
    ended = door("--workspace", str(shop.root), "erase", text="somebody\n")
    monkeypatch.delenv("LETHE_PSEUDONYM_KEY")

    assert ended.code == 2
    assert "is not the one this workspace was made with" in ended.err
    assert door("--workspace", str(shop.root), "--json", "requests").json["requests"] == []


def test_a_register_that_is_gone_is_an_outside_failure_and_is_not_made_anew(
    shop: Shop, door: Door
) -> None:
    register = shop.root / ".lethe" / "register.db"
    aside = register.rename(register.with_name("aside.db"))
    try:
        for arguments in (("status",), ("requests",), ("erase",)):
            ended = door("--workspace", str(shop.root), *arguments, text="somebody\n")
            assert ended.code == 3
            assert "there is no register" in ended.err
            assert not register.exists()
    finally:
        aside.rename(register)


def test_a_register_that_is_no_database_is_an_outside_failure(
    shop: Shop, door: Door, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    broken = tmp_path / "register.db"
    broken.write_bytes(b"this is no database" * 100)
    monkeypatch.setenv("LETHE_REGISTER_URL", f"sqlite:///{broken}")

    ended = door("--workspace", str(shop.root), "requests")

    assert ended.code == 3
    assert "register" in ended.err


@pytest.mark.parametrize(
    ("content", "told"),
    [("name: [", "not readable as YAML"), ("nmae: shop", "nmae"), ("- name", ""), ("seed: -1", "")],
)
def test_parameters_that_cannot_be_used_stop_every_command(
    shop: Shop, door: Door, content: str, told: str
) -> None:
    path = shop.root / "params.yaml"
    good = path.read_bytes()
    try:
        path.write_text(content, encoding="utf-8")
        ended = door("--workspace", str(shop.root), "status")
    finally:
        path.write_bytes(good)

    assert ended.code == 2
    assert "params.yaml" in ended.err
    assert told in ended.err


@pytest.mark.parametrize("verb", VERBS)
def test_ids_on_the_command_line_are_refused_and_not_repeated(
    shop: Shop, door: Door, verb: str
) -> None:
    ended = door("--workspace", str(shop.root), verb, "anna-karenina")

    assert ended.code == 2
    assert "never from the command line" in ended.err
    assert "anna" not in ended.err + ended.out


def test_an_unexpected_error_is_named_and_its_content_is_not(
    shop: Shop, door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise KeyError("anna-karenina")

    monkeypatch.setattr("lethe.desk.reviewing.status", fail)

    plain = door("--workspace", str(shop.root), "status")
    machine = door("--workspace", str(shop.root), "--json", "status")

    assert plain.code == machine.code == 3
    assert "unexpected KeyError at versions.py:" in plain.err
    assert "anna" not in plain.err + plain.out + machine.err + machine.out
    assert machine.json["exit_code"] == 3


def test_an_interrupted_command_says_stopped(
    shop: Shop, door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("lethe.desk.reviewing.status", interrupted)

    ended = door("--workspace", str(shop.root), "status")

    assert (ended.code, ended.err.strip()) == (3, "lethe: stopped")


def test_the_group_itself_touches_nothing(empty: Path, door: Door) -> None:
    assert door("--workspace", str(empty), "--version").code == 0
    assert list(empty.iterdir()) == []
    assert isinstance(lethe, click.Group)


def test_a_night_only_if_asked_is_run_for_a_request_and_for_nothing_else(
    shop: Shop, door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    nights_run: list[str] = []

    def retrain(workspace: str) -> dict[str, str]:
        nights_run.append(workspace)
        return {"outcome": "promoted", "text": "promoted"}

    monkeypatch.setattr("flows.retrain.retrain", retrain)
    monkeypatch.setattr("flows.own_server.own_server", lambda: nullcontext(lambda: None))
    at = ("--workspace", str(shop.root))
    idle = door(*at, "night", "--if-asked")
    assert (idle.code, idle.out, nights_run) == (0, "no request waits for a night\n", [])
    assert door(*at, "erase", text="somebody-who-asked\n").code == 0
    assert door(*at, "night", "--if-asked").out == "promoted\n"
    assert nights_run == [str(shop.root)]
