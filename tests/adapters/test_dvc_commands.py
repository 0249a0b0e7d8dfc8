"""dvc's commands in a process that stays: each as if it had one of its own."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from lethe.adapters import dvc_commands
from lethe.errors import StoreUnavailable

PATIENCE = 60.0


def alone(words: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """The same command in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "dvc", *words],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )


def becomes(holds: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + PATIENCE
    while not holds() and time.monotonic() < deadline:
        time.sleep(0.01)
    return holds()


def runs(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def the_process() -> int:
    return dvc_commands._line(os.getpid()).process.pid


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with a stage that says where it is and what is in its environment."""
    done = dvc_commands.run(("init", "--no-scm"), tmp_path, os.environ)
    assert done.returncode == 0, done.stderr
    (tmp_path / "dvc.yaml").write_text(
        "stages:\n  told:\n"
        "    cmd: pwd > told; (printenv WORD || echo nothing) >> told; umask >> told\n"
        "    outs: [told]\n    always_changed: true\n"
    )
    return tmp_path


@pytest.mark.parametrize(
    "words", [["--version"], ["status"], ["push", "--no-such"], ["repro", "x"]]
)
def test_a_command_ends_and_prints_as_in_a_process_of_its_own(
    words: list[str], repository: Path
) -> None:
    expected = alone(words, repository)
    found = dvc_commands.run(words, repository, os.environ)
    assert found.returncode == expected.returncode
    assert found.stdout == expected.stdout
    assert found.stderr.splitlines()[-1:] == expected.stderr.splitlines()[-1:]


def test_a_command_has_its_own_folder_and_environment_and_nothing_of_the_one_before(
    repository: Path,
) -> None:
    before, told = the_process(), []
    for environment in ({**os.environ, "WORD": "once"}, dict(os.environ)):
        done = dvc_commands.run(("repro", "told"), repository, environment)
        assert done.returncode == 0, done.stderr
        told.append((repository / "told").read_text().split())
    assert told == [[str(repository), "once", "0077"], [str(repository), "nothing", "0077"]]
    assert the_process() == before


def test_a_process_that_was_killed_between_two_commands_is_replaced(repository: Path) -> None:
    killed = the_process()
    os.kill(killed, signal.SIGKILL)
    assert becomes(lambda: not runs(killed))
    assert dvc_commands.run(("status",), repository, os.environ).returncode == 0
    assert the_process() != killed


def test_a_process_that_is_killed_under_a_command_is_an_outside_failure(repository: Path) -> None:
    (repository / "dvc.yaml").write_text("stages: {long: {cmd: touch begun; sleep 60}}\n")

    def kill() -> None:
        assert becomes((repository / "begun").exists)
        os.kill(the_process(), signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    with pytest.raises(StoreUnavailable, match="process that runs it ended"):
        dvc_commands.run(("repro", "long"), repository, os.environ)
    killer.join()
    for entry in Path("/proc").glob("[0-9]*"):  # the stage goes on: it is a child of nobody now
        with contextlib.suppress(OSError):
            if (entry / "cwd").resolve() == repository:
                os.kill(int(entry.name), signal.SIGKILL)


@pytest.mark.parametrize("ending", ["pass", "os.kill(os.getpid(), 9)"])
def test_it_ends_with_the_process_that_uses_it(ending: str, tmp_path: Path) -> None:
    code = f"""
        import os
        from lethe.adapters import dvc_commands
        dvc_commands.start_ahead()
        print(dvc_commands._line(os.getpid()).process.pid, flush=True)
        {ending}
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    process = int(done.stdout)
    assert becomes(lambda: not runs(process))


@pytest.mark.parametrize(("ignores", "ended"), [(True, True), (False, False)])
def test_ctrl_c_interrupts_a_command_only_where_it_interrupts_whoever_asked(
    ignores: bool, ended: bool, repository: Path
) -> None:
    # no command of its own says that it began: a shell goes on if one ends well as Ctrl-C comes
    stage = f"true > begun; sleep {1 if ended else 30}; touch ended"
    (repository / "dvc.yaml").write_text(f"stages: {{long: {{cmd: {stage}}}}}\n")
    code = f"""
        import os, pathlib, signal
        from lethe.adapters import dvc_commands
        dvc_commands.start_ahead()
        signal.signal(signal.SIGINT, signal.{"SIG_IGN" if ignores else "default_int_handler"})
        dvc_commands.run(("repro", "long"), pathlib.Path({str(repository)!r}), os.environ)
    """
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)],
        cwd=Path(__file__).parents[2],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert becomes((repository / "begun").exists)
    os.killpg(process.pid, signal.SIGINT)
    said = process.communicate(timeout=60)[1]
    assert ("KeyboardInterrupt" in said) is not ended, said
    assert (repository / "ended").exists() is ended
