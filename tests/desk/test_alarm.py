"""Somebody is woken when a night fails, is refused or leaves a request overdue, and only then."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from lethe.desk import alarm
from lethe.desk.setting_up import initialise
from lethe.errors import BadConfiguration, BadInput, NotAWorkspace, PromotionRefused
from lethe.estate.workspace import Workspace
from lethe.interactions.rights.standing import Action, Request
from lethe.stages import opening


class Hook(HTTPServer):
    """A webhook on loopback that answers with `status` and keeps what it was told."""

    def __init__(self, status: int = 200) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.status, self.told = status, list[tuple[str, dict[str, Any]]]()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/secret-path"


class Answer(BaseHTTPRequestHandler):
    server: Hook

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.told.append((self.path, json.loads(body)))
        self.send_response(self.server.status)
        if self.server.status == 302:
            self.send_header("Location", self.server.address + "/elsewhere")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture(params=[200])
def hook(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hook]:
    server = Hook(request.param)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    monkeypatch.setenv(alarm.VARIABLE, server.address)
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    made = Workspace(tmp_path_factory.mktemp("alarm") / "shop")
    initialise(made, None)
    return made


@pytest.mark.parametrize(
    ("error", "event", "code"),
    [
        (PromotionRefused("not promoted", ("worse",)), "refused", 1),
        (BadInput("a file was refused"), "bad input", 2),
        (RuntimeError("somebody's name"), "failed", 3),
    ],
)
def test_what_a_night_ends_with_is_told_and_still_raised(
    workspace: Workspace, hook: Hook, error: Exception, event: str, code: int
) -> None:
    with pytest.raises(type(error)), alarm.watched(str(workspace.root)):
        raise error

    ((path, told),) = hook.told
    assert path == "/secret-path"
    assert (told["event"], told["exit_code"]) == (event, code)
    assert told["workspace"] == opening.open_params(workspace).name
    assert (told["open"], told["overdue"]) == (0, 0)
    assert "somebody" not in json.dumps(told)
    assert told["message"] in told["text"]


def test_a_good_night_wakes_nobody(workspace: Workspace, hook: Hook) -> None:
    with alarm.watched(str(workspace.root)):
        pass

    assert hook.told == []


def test_an_overdue_request_is_told_after_a_good_night(
    workspace: Workspace, hook: Hook, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = f"sqlite:///{workspace.root}/late.db"
    monkeypatch.setenv("LETHE_REGISTER_URL", other)
    register = opening.open_register(workspace, opening.open_params(workspace))
    register.initialise()
    register.append([Request(Action.ERASE, "a" * 64, 1_600_000_000)])

    with alarm.watched(str(workspace.root)):
        pass

    ((_, told),) = hook.told
    assert (told["event"], told["overdue"], told["exit_code"]) == ("overdue", 1, 1)
    assert "a" * 64 not in json.dumps(told)


def test_without_an_address_nothing_is_asked(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(alarm.VARIABLE, raising=False)
    monkeypatch.setattr(alarm, "_post", None)  # a call would raise another error

    with pytest.raises(BadInput), alarm.watched(str(workspace.root)):
        raise BadInput("refused")


@pytest.mark.parametrize("hook", [302, 500], indirect=True)
def test_an_answer_that_is_no_success_is_said_and_nothing_is_followed(
    workspace: Workspace, hook: Hook, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(BadInput, match="the night's own"), alarm.watched(str(workspace.root)):
        raise BadInput("the night's own")

    assert len(hook.told) == 1
    said = capsys.readouterr().err
    assert f"could not be told: HTTPError {hook.status}" in said
    assert "secret-path" not in said


def test_a_webhook_that_is_down_does_not_change_how_the_night_ends(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as closed:
        port = closed.server_port
    monkeypatch.setenv(alarm.VARIABLE, f"http://127.0.0.1:{port}/")

    with pytest.raises(BadInput, match="the night's own"), alarm.watched(str(workspace.root)):
        raise BadInput("the night's own")

    assert "could not be told: URLError" in capsys.readouterr().err


@pytest.mark.parametrize(
    "address", ["ftp://host/x", "file:///etc/passwd", "http://", "http://[", "hook"]
)
def test_an_address_that_is_none_is_refused_before_the_night_begins(
    address: str, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(alarm.VARIABLE, address)
    begun = []
    with pytest.raises(BadConfiguration) as caught, alarm.watched(str(workspace.root)):
        begun.append(True)

    assert begun == []
    assert address not in str(caught.value).removeprefix(f"{alarm.VARIABLE} is no http or https")


def test_the_address_can_lie_in_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(alarm.VARIABLE, raising=False)
    file = tmp_path / "hook"
    file.write_text("https://example.org/x\n")
    monkeypatch.setenv(f"{alarm.VARIABLE}_FILE", str(file))
    assert alarm.webhook() == "https://example.org/x"
    for broken in (tmp_path / "none", tmp_path / "empty"):
        (tmp_path / "empty").touch()
        monkeypatch.setenv(f"{alarm.VARIABLE}_FILE", str(broken))
        with pytest.raises(BadConfiguration):
            alarm.webhook()


def test_the_night_is_watched(tmp_path: Path, hook: Hook) -> None:
    from flows.retrain import retrain

    with pytest.raises(NotAWorkspace):
        retrain.fn(str(tmp_path))

    ((_, told),) = hook.told
    assert told["event"] == "bad input"
