"""Who is too faint for the residual test, where weights halve with age or are discounted.

What an honest fit leaves of the gradient favours no direction. So the a of a person is off by
noise / sqrt(size), size being the square of what the person alone would add, and the noise is the
same for the strongest and the faintest: measured in docs/verification-measured.md. It is taken, in
every run, from the people whose a is known: members pretended erased and people never seen.

Nobody can tell whether the too faint are there. They are let off only if all of them together, had
every one been left in, would move no item's equation by more than layer 4 lets pass anyway; if
they could, the layer does not answer.
"""

from __future__ import annotations

import numpy as np

from lethe.gate.proof.algebra import Doubles
from lethe.gate.proof.als.contribution import People
from lethe.gate.proof.als.equations import LARGEST_RESIDUAL
from lethe.gate.proof.report import Control

# Half of the smallest share that is a finding: twice what 99 of 100 known people are off by.
LARGEST_ERROR = 0.125
# A fit that still moves makes everybody faint: then nothing is answered, and nobody is let off.
LARGEST_USUAL_ERROR = LARGEST_ERROR / 2
_OF_ALL = 0.99
_AT_ONCE = 64  # people whose additions to every item are held together
ADVICE = "a longer half-life or a lower popularity discount, so that fewer people are too faint"


def noise(known: tuple[People, ...]) -> float:
    """What 99 of 100 known people are off by, times sqrt(size); infinite if nobody adds anything.

    `known` must read 0: people never seen, or retained people as they are.
    """
    off = [np.abs(people.push[people.size > 0]) / _root(people) for people in known]
    return max((float(np.quantile(one, _OF_ALL)) for one in off if len(one)), default=np.inf)


def least_size(found: float) -> float:
    """Below this size a person's a is off by more than `LARGEST_ERROR` at this noise."""
    return (found / LARGEST_ERROR) ** 2


def settled(found: float, usual: float) -> Control:
    """Whether the noise is small beside a usual member, of this size."""
    off = found / np.sqrt(usual) if usual > 0 else np.inf
    return Control(
        "what the a of a usual member is off by",
        f"at most {LARGEST_USUAL_ERROR}",
        f"{off:.1e}",
        bool(off <= LARGEST_USUAL_ERROR),
    )


def negligible(people: People, scale: Doubles) -> Control:
    """Whether these people, were all of them in the factors, would show in no item's equation.

    `scale` is |left| + |right| of each item, float64 (n_items,). Norms are summed, so that whoever
    of them were there, they would add no more.
    """
    added = np.zeros(len(scale))
    items = people.field.item_factors
    for first in range(0, len(people.factors), _AT_ONCE):
        some = slice(first, first + _AT_ONCE)
        X = people.factors[some]
        weights = np.abs(X @ items.T + people.corrections[some].toarray())
        added += np.linalg.norm(X, axis=1) @ weights
    shares = np.divide(added, scale, out=np.zeros_like(added), where=scale > 0)
    largest = float(np.max(shares, initial=0.0))
    return Control(
        "what those too faint to be asked about add to an item's equation, together",
        f"at most {LARGEST_RESIDUAL:.0e}",
        f"{largest:.1e} by {len(people.factors)}",
        largest <= LARGEST_RESIDUAL,
    )


def _root(people: People) -> Doubles:
    root: Doubles = np.sqrt(people.size[people.size > 0])
    return root
