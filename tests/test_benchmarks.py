"""What the benchmarks reach into is there: they are run by hand, and would rot unseen."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent

# In a process of its own: it puts a clock around functions of the modules.
NIGHT = """
import json, time
from benchmarks.whose import FITS, PREFECT, PROOF, Clock, at_the_edges
from lethe.solutions import setting
from lethe.nights.learning import window
from tests.solutions.histories import history

clock = Clock(PREFECT, time.perf_counter())
at_the_edges(clock)
matrix = history(60, 20, 3)
made = setting.Setting.of("als", {"factors": 8, "iterations": 2}, 1)
learned = made.fit(matrix)
fits = clock.spent[FITS]
window.evaluate(learned, matrix.csr, matrix.csr)
scores = clock.spent[FITS] - fits
with clock.of(PROOF):
    made.fit(matrix)
print(json.dumps([fits, scores, clock.spent[FITS] - fits - scores, clock.spent[PROOF]]))
"""


def test_the_clock_of_a_nights_seconds_finds_its_edges() -> None:
    done = subprocess.run(
        [sys.executable, "-c", NIGHT], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    fits, scores, replayed, proof = json.loads(done.stdout)
    assert fits > 0
    assert scores > 0
    assert replayed == 0
    assert proof > 0
