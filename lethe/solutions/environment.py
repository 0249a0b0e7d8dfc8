"""Where a fit ran: what must be equal for a replay to give the same bits.

ALS is bit-identical for any number of its own threads, but its digits change with the BLAS
threads and with the BLAS kernel. Both are therefore pinned and recorded. Nothing here imports
numpy before `pin_process` could have been called.
"""

from __future__ import annotations

import contextlib
import os
import platform
import sys
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path

from lethe.errors import BadConfiguration

NATIVE = "native"
_THREAD_VARIABLES = (
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
)
_KERNEL_VARIABLE = "OPENBLAS_CORETYPE"
# What a kernel needs of the processor: without it the process would die of an illegal instruction.
_NEEDS = {
    "Haswell": "avx2",
    "Zen": "avx2",
    "SkylakeX": "avx512f",
    "Cooperlake": "avx512_bf16",
    "SapphireRapids": "amx_bf16",
}
_PACKAGES = {
    "numpy": ("numpy",),
    "scipy": ("scipy",),
    "implicit": ("implicit",),
    "lightfm": ("lightfm-next", "rectools-lightfm", "lightfm"),
}


def pin_process(kernel: str) -> None:
    """Pin BLAS to one thread and to `kernel` for this process and its children.

    Call it before numpy is imported: OpenBLAS chooses its kernel when it is loaded. `kernel` is
    an OpenBLAS core type (``"Haswell"``, ``"SkylakeX"``), or ``"native"`` for OpenBLAS's own
    choice, which is recorded all the same.

    Raises:
        BadConfiguration: the processor cannot run this kernel, or numpy is already loaded with
            another one.
    """
    _check_processor(kernel, Path("/proc/cpuinfo"))
    for variable in _THREAD_VARIABLES:
        os.environ[variable] = "1"
    if kernel == NATIVE:
        os.environ.pop(_KERNEL_VARIABLE, None)
    else:
        os.environ[_KERNEL_VARIABLE] = kernel
    if "numpy" in sys.modules:
        _check_loaded(kernel)
        import threadpoolctl

        # outside a `with` block the limit stays until the process ends
        threadpoolctl.threadpool_limits(limits=1, user_api="blas")


def _check_processor(kernel: str, described: Path) -> None:
    """Say what would otherwise end the process without a word. Unknown processors pass."""
    needed = _NEEDS.get(kernel)
    text = described.read_text(encoding="utf-8") if described.is_file() else ""
    flags = next((line.split() for line in text.splitlines() if line.startswith("flags")), None)
    if needed is not None and flags is not None and needed not in flags:
        raise BadConfiguration(
            f"environment.blas_kernel is {kernel}, and this processor lacks {needed}; "
            f"`{NATIVE}` lets OpenBLAS choose"
        )


def _check_loaded(kernel: str) -> None:
    loaded = _openblas("architecture")
    if kernel != NATIVE and loaded and loaded != {kernel}:
        raise BadConfiguration(
            f"the BLAS kernel must be {kernel}, and numpy is already loaded with "
            f"{', '.join(sorted(loaded))}; start the process with {_KERNEL_VARIABLE}={kernel}"
        )


@contextlib.contextmanager
def one_blas_thread() -> Iterator[None]:
    """Hold BLAS to one thread inside the block, whatever the process allows."""
    import threadpoolctl

    with threadpoolctl.threadpool_limits(limits=1, user_api="blas"):
        yield


def environment() -> dict[str, str]:
    """The record of this process, as it stands in a solution's manifest.

    Keys: python, machine, numpy, scipy, implicit, lightfm (versions), blas_kernel (the
    architecture of every OpenBLAS loaded), blas_threads (inside `one_blas_thread`, where fits
    run).
    """
    import numpy  # noqa: F401 - loads numpy's OpenBLAS
    import scipy.linalg  # noqa: F401 - loads scipy's own OpenBLAS, which implicit calls

    with one_blas_thread():
        threads = _openblas("num_threads")
    record = {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "blas_kernel": "+".join(sorted(_openblas("architecture"))) or "unknown",
        "blas_threads": "+".join(sorted(threads)) or "unknown",
    }
    record |= {name: _version(candidates) for name, candidates in _PACKAGES.items()}
    return dict(sorted(record.items()))


def differences(a: Mapping[str, str], b: Mapping[str, str]) -> tuple[str, ...]:
    """What differs between two records, one short sentence each.

    >>> differences({"numpy": "2.4.6", "machine": "x86_64"}, {"numpy": "2.5.0"})
    ('machine: x86_64, then absent', 'numpy: 2.4.6, then 2.5.0')
    """
    return tuple(
        f"{name}: {a.get(name, 'absent')}, then {b.get(name, 'absent')}"
        for name in sorted(a.keys() | b.keys())
        if a.get(name) != b.get(name)
    )


def _openblas(key: str) -> set[str]:
    import threadpoolctl

    pools = threadpoolctl.threadpool_info()
    return {str(pool[key]) for pool in pools if pool["internal_api"] == "openblas"}


def _version(candidates: tuple[str, ...]) -> str:
    for name in candidates:
        with contextlib.suppress(metadata.PackageNotFoundError):
            return metadata.version(name)
    return "absent"
