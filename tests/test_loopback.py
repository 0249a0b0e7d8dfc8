"""A whole night reaches nothing but loopback, and those who watch it would have seen it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.opened import lines
from tests.watched import Shop, apart, opened, run


def test_a_whole_night_connects_to_nothing_but_loopback(small_night: Shop) -> None:
    """As Python sees it and as the C library does: flow, server, stages, dvc."""
    said = small_night.connections.read_text(encoding="utf-8").splitlines()
    processes = [line for line in said if line.startswith("process ")]

    assert [line for line in said if line.startswith("FAR")] == []
    assert set(lines(small_night.opened, "connect")) == {"127.0.0.1"}
    for expected in (
        "lethe night",
        "-m lethe.adapters.dvc_commands",
        "-m lethe.stages interactions",
        "-m flows.own_server",
    ):
        assert any(expected in line for line in processes), f"{expected} was not watched"


def test_a_whole_night_needs_no_network_but_loopback(small_night: Shop) -> None:
    if not apart():
        pytest.skip("the kernel gives no network namespace to this user")
    said = small_night.connections.read_text(encoding="utf-8").splitlines()
    interfaces = [line for line in said if line.startswith("interfaces ")]
    assert len(interfaces) > 5
    assert set(interfaces) == {"interfaces lo"}


def test_the_watch_would_have_seen_a_connection(tmp_path: Path) -> None:
    reach = "import socket; socket.create_connection(('192.0.2.1', 9), timeout=1)"
    done = run((sys.executable, "-c", reach), tmp_path, tmp_path / "log")

    assert done.returncode != 0
    assert "FAR socket.getaddrinfo 192.0.2.1" in (tmp_path / "log").read_text(encoding="utf-8")


def test_the_watch_sees_a_connection_that_python_does_not(tmp_path: Path) -> None:
    reach = """if True:
        import ctypes, socket, struct
        libc = ctypes.CDLL(None)
        near = struct.pack("=HH4s8x", socket.AF_INET, socket.htons(9), bytes([127, 0, 0, 9]))
        libc.connect(libc.socket(socket.AF_INET, socket.SOCK_STREAM, 0), near, len(near))
    """
    done = run((sys.executable, "-c", reach), tmp_path, tmp_path / "log")

    assert done.returncode == 0, done.stderr
    assert list(lines(opened(tmp_path / "log"), "connect")) == ["127.0.0.9"]
