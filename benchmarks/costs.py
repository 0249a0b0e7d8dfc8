"""What the layers of deletion verification cost beside one fit."""

from __future__ import annotations

import functools
import time
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from benchmarks.datasets import synthetic
from benchmarks.mutants import World
from lethe.gate.proof.layers import manifest_layer, structure
from lethe.gate.proof.verification import algebra_layers
from lethe.solutions.als import AlsHyperparameters

MEASURED_ITERATIONS = 4
LAYERS_MEASURED: tuple[Callable[[Any], Any], ...] = (structure, manifest_layer, algebra_layers)


def cost_row(pairs: int, usual: AlsHyperparameters) -> list[str]:
    """Processor seconds of one fit and of layers 1, 2, 4, 5 and 6, and their peak memory."""
    matrix = synthetic(pairs)
    rule = usual.model_copy(update={"iterations": MEASURED_ITERATIONS, "seal": False})
    one = World(matrix, (), rule)
    _, fit = timed(lambda: one.fit(matrix))
    sealed = replace(one, rule=rule.model_copy(update={"iterations": 1, "seal": True}))
    factors, seal = timed(lambda: sealed.fit(matrix))
    whole = fit / MEASURED_ITERATIONS * usual.iterations + seal
    vars(one)["after"], vars(one)["honest"] = matrix, factors
    case = one.case(factors, suspects={"erased": matrix.csr[:100]})
    seconds = [timed(functools.partial(layer, case))[1] for layer in LAYERS_MEASURED]
    tracemalloc.start()
    algebra_layers(case)
    peak = tracemalloc.get_traced_memory()[1] / 2**20
    tracemalloc.stop()
    held = (sum(a.nbytes for a in factors.arrays().values()) + matrix.csr.nnz * 8) / 2**20
    print(f"  {matrix}: fit {whole:.1f} s, layers {sum(seconds):.2f} s, {peak:.0f} MiB", flush=True)
    return [
        f"{matrix.csr.nnz:,}",
        f"{len(matrix.users):,} x {len(matrix.items):,}",
        f"{whole:.1f} s",
        *(f"{value:.2f} s" for value in seconds),
        f"{sum(seconds) / whole:.1%}",
        f"{peak:.0f} MiB",
        f"{held:.0f} MiB",
    ]


def timed(call: Callable[[], Any]) -> tuple[Any, float]:
    """What a call gives, and the processor seconds it took on all threads."""
    started = time.process_time()
    return call(), time.process_time() - started
