"""The environment is pinned before numpy, recorded, and compared."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest
import threadpoolctl

from lethe.errors import BadConfiguration
from lethe.solutions import environment as module
from lethe.solutions.environment import differences, environment, one_blas_thread, pin_process


def child(code: str, **variables: str) -> str:
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("OPENBLAS", "OMP"))}
    done = subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        capture_output=True,
        text=True,
        env=clean | variables,
    )
    return done.stdout


PIN = "from lethe.solutions.environment import environment, pin_process; import sys, json\n"


@pytest.mark.skipif(platform.machine() != "x86_64", reason="kernel names are x86-64's")
def test_a_pinned_process_runs_that_kernel_on_one_thread() -> None:
    record = json.loads(
        child(
            PIN + "assert 'numpy' not in sys.modules\n"
            "pin_process('Haswell')\nprint(json.dumps(environment()))"
        )
    )
    assert (record["blas_kernel"], record["blas_threads"]) == ("Haswell", "1")


@pytest.mark.skipif(platform.machine() != "x86_64", reason="kernel names are x86-64's")
def test_the_locked_blas_multiplies_under_the_pinned_kernel() -> None:
    """The OpenBLAS of numpy 2.5 (0.3.34) writes past its stack in such a product, and dies."""
    code = """
import numpy as np

for width in range(8, 129, 8):
    for rows in (60, 674, 1647, 3659):
        factors, weights = np.ones((rows, width)), np.ones(rows)
        assert ((factors.T * weights) @ factors == rows).all()
print("whole")
"""
    assert child(code, OPENBLAS_CORETYPE="Haswell", OPENBLAS_NUM_THREADS="1") == "whole\n"


def test_pinning_too_late_to_another_kernel_is_refused() -> None:
    said = child(
        PIN + "import numpy\nfrom lethe.errors import BadConfiguration\n"
        "pin_process('Haswell')\n"
        "try: pin_process('Nehalem')\nexcept BadConfiguration as e: print(e)",
        OPENBLAS_CORETYPE="Haswell",
    )
    assert "the BLAS kernel must be Nehalem, and numpy is already loaded with Haswell" in said


def test_a_late_native_pin_still_holds_blas_to_one_thread() -> None:
    said = child(
        PIN + "import numpy, threadpoolctl\npin_process('native')\n"
        "print({p['num_threads'] for p in threadpoolctl.threadpool_info()})",
    )
    assert said.strip() == "{1}"


def test_one_blas_thread_holds_inside_and_lets_go_after() -> None:
    import numpy  # noqa: F401 - loads OpenBLAS, whatever ran before

    def blas() -> list[int]:
        pools = threadpoolctl.threadpool_info()
        return [pool["num_threads"] for pool in pools if pool["user_api"] == "blas"]

    before = blas()
    with one_blas_thread():
        assert set(blas()) == {1}
    assert blas() == before


def test_the_record_is_text_and_complete() -> None:
    record = environment()
    assert set(record) == {
        "python",
        "machine",
        "numpy",
        "scipy",
        "implicit",
        "lightfm",
        "blas_kernel",
        "blas_threads",
    }
    assert all(isinstance(value, str) and value for value in record.values())
    assert "absent" not in record.values()
    assert differences(record, environment()) == ()


def test_a_difference_is_named_on_both_sides() -> None:
    assert differences({"a": "1"}, {"a": "2", "b": "3"}) == ("a: 1, then 2", "b: absent, then 3")


def test_a_refused_pin_is_a_configuration_error() -> None:
    assert BadConfiguration.exit_code == 2
    if platform.machine() == "x86_64":
        import numpy as np

        assert np.zeros(1).sum() == 0
        with pytest.MonkeyPatch.context() as patch:
            for name in (
                "OPENBLAS_CORETYPE",
                "OPENBLAS_NUM_THREADS",
                "MKL_NUM_THREADS",
                "BLIS_NUM_THREADS",
                "VECLIB_MAXIMUM_THREADS",
                "NUMEXPR_NUM_THREADS",
            ):
                patch.setenv(name, os.environ.get(name, "1"))
            with pytest.raises(BadConfiguration, match="start the process with"):
                pin_process("NoSuchKernel")


@pytest.mark.parametrize("kernel", ["Haswell", "Zen", "SkylakeX", "Cooperlake", "SapphireRapids"])
def test_a_kernel_that_the_processor_cannot_run_is_told_before_it_dies(
    kernel: str, tmp_path: Path
) -> None:
    described = tmp_path / "cpuinfo"
    described.write_text("processor : 0\nflags : fpu sse2\n")
    with pytest.raises(BadConfiguration, match=f"{kernel}, and this processor lacks"):
        module._check_processor(kernel, described)
    needed = module._NEEDS[kernel]
    described.write_text(f"processor : 0\nflags : fpu {needed}\n")
    module._check_processor(kernel, described)


def test_a_processor_that_says_nothing_is_not_refused(tmp_path: Path) -> None:
    module._check_processor("SkylakeX", tmp_path / "absent")
    (tmp_path / "arm").write_text("Features : asimd\n")
    module._check_processor("SkylakeX", tmp_path / "arm")
