"""On a terminal a night shows where it is; everywhere else it prints the lines it always did."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest

from lethe.nights.saying.screen import Standing

NIGHT = """
import sys, time
from lethe.nights.saying.events import iterated, note, say
from lethe.nights.saying.screen import screen

with screen():
    say("intake", "begins", event="start")
    say("intake", "3 files, register at position 7", {"files": 3})
    note("intake", "end", 0.1)
    say("tune", "begins", event="start")
    for number, value in ((1, 0.25), (2, 0.125)):
        iterated(40)
        time.sleep(0.6)
        say("tune", f"als trial {number}/2: complete [red]{value}[/red]",
            {"recipe": "als", "trial": number, "trials": 2, "value": value}, event="trial")
    time.sleep(0.6)
print("rich" in sys.modules)
"""
LINES = ["intake   begins", "intake   3 files, register at position 7", "tune     begins",
         "tune     als trial 1/2: complete [red]0.25[/red]",
         "tune     als trial 2/2: complete [red]0.125[/red]"]  # fmt: skip


def on_a_terminal(**variables: str) -> tuple[str, str]:
    """What it writes on standard error, a terminal, and on standard output, none."""
    primary, terminal = pty.openpty()
    with os.fdopen(terminal, "wb", 0) as end:
        child = subprocess.Popen(
            [sys.executable, "-c", NIGHT],
            env={**os.environ, "TERM": "xterm", "COLUMNS": "100", **variables},
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=end, text=True,
        )  # fmt: skip
    seen = b""
    try:
        while chunk := os.read(primary, 65536):
            seen += chunk
    except OSError:  # the terminal is gone with its last user
        pass
    os.close(primary)
    out, _ = child.communicate(timeout=60)
    assert child.returncode == 0, seen.decode()
    return seen.decode(), out.strip()


def said(seen: str) -> list[str]:
    """The lines for people among what was drawn, in order."""
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", seen).replace("\r", "\n")
    return re.findall(r"^\d\d:\d\d:\d\d [ 0-9/]{5} (.+)$", plain, re.MULTILINE)


def test_a_terminal_shows_step_files_trials_best_score_iterations_and_time() -> None:
    seen, loaded = on_a_terminal()

    assert loaded == "True"
    assert said(seen) == LINES
    assert re.search(r"5/11 tune  3 files  40 iterations  0:00:0\d", seen)
    assert re.search(r"5/11 tune  3 files  als 2/2 trials, best 0\.2500  40 iterations  0:", seen)
    last = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", seen.rsplit("\n", 1)[-1])
    assert "trials" not in last.rsplit("\r", 1)[-1], "the line goes when the command ends"


@pytest.mark.parametrize("variables", [{"TERM": "dumb"}, {"LETHE_LOG": "json"}])
def test_a_terminal_that_cannot_draw_and_a_log_for_machines_get_lines_alone(
    variables: dict[str, str],
) -> None:
    seen, loaded = on_a_terminal(**variables)

    assert loaded == "False"
    assert "\x1b" not in seen
    assert len(seen.splitlines()) == len(LINES) + ("LETHE_LOG" in variables)


def test_without_a_terminal_the_lines_are_what_they_always_were(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", NIGHT], env={**os.environ, "TERM": "xterm"},
        capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip

    assert done.stdout.strip() == "False"
    assert said(done.stderr) == LINES
    assert [line[15:] for line in done.stderr.splitlines()] == LINES


def test_what_is_not_known_yet_is_not_shown() -> None:
    clock = iter((0.0, 3725.0, 3726.0))
    standing = Standing(clock=lambda: next(clock))
    standing.happened("night", "start", {})

    assert str(standing) == "night  1:02:05"
    standing.happened("tune", "start", {})
    standing.happened("tune", "trial", {"recipe": "als", "trial": 1, "trials": 2, "value": None})
    assert str(standing) == "5/11 tune  als 1/2 trials  1:02:06"
