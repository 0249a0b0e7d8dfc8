"""The layers of verification as a lay reader is told them, from a certificate's facts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from lethe.gate.proof.als.presence import BARRED, MEMBERS, UNSEEN
from lethe.gate.proof.report import BIN, FIRST_BIN, LAST_BIN
from lethe.reports.proving import pictures
from lethe.reports.proving.pictures import Cloud, Kind, Ruler
from lethe.reports.verdict import dig, records
from lethe.reports.wording import count, decimal, number, plural, setting

_QUESTIONS: Final = {
    "structure": "Does the version list exactly the people who may be in it, and nobody else?",
    "manifest": "Was it learned from exactly the data that is left without them?",
    "replay": "Does learning once more from that data give the same version, bit for bit?",
    "normal_equations": "Do the numbers of every item follow from the people who are left alone?",
    "stationarity": "Had the learning come to rest, so that the next answer counts?",
    "contribution": "Is the version free of the histories of people who must not be in it?",
}
_KINDS: Final[Mapping[str, tuple[Kind, str]]] = {
    BARRED: ("barred", "Must not be there"),
    UNSEEN: ("unseen", "Never seen"),
    MEMBERS: ("member", "Members, left out to test"),
}
# Measured on three data sets (docs/verification.md): honest fits, and one hidden person.
_KNOWN: Final = (("sound versions", 1e-7, 6e-7), ("one hidden person", 1.9e-4, 4e-2))


def told(facts: Any) -> dict[str, Any]:
    """Everything the page shows of the layers, by the names that its template uses."""
    return {
        "layers": plain(facts),
        "scores": scores(facts),
        "residual": residual(facts),
        "rates": rates(facts),
    }


def plain(facts: Any) -> list[dict[str, str]]:
    """One line a layer: question, tone and answer, what was measured, and its limit."""
    return [_line(layer) for layer in records(dig(facts, "certificate", "layers"))]


def _line(layer: Mapping[str, Any]) -> dict[str, str]:
    name = str(layer.get("layer"))
    tone, answer = _answer(name, layer)
    found, limit = _figures(name, layer)
    question = _QUESTIONS.get(name, setting(layer.get("question")))
    return {"question": question, "tone": tone, "answer": answer, "number": found, "limit": limit}


def _answer(name: str, layer: Mapping[str, Any]) -> tuple[str, str]:
    if layer.get("conclusive") is False:
        return "warn", "No answer"
    if layer.get("passed") is not True:
        return "bad", "No"
    if name == "contribution" and number(layer.get("measured")) is None and "limit" in layer:
        return "idle", "Nobody to test"
    return "good", "Yes"


def _figures(name: str, layer: Mapping[str, Any]) -> tuple[str, str]:
    """What was measured beside its limit; the layer's own words where no number decides."""
    found, limit = number(layer.get("measured")), number(layer.get("limit"))
    if limit is not None and name == "contribution":
        return _share(found), f"below {decimal(limit, 2)} of a history"
    if limit is None or found is None:
        return setting(layer.get("value")), setting(layer.get("threshold"))
    if name == "normal_equations":
        times = (
            f", {count(limit / found)} times smaller than the limit" if 0 < found < limit else ""
        )
        return f"{found:.1e}{times}", f"{limit:.0e}"
    if name == "stationarity":
        return f"{found:.1e} left to move", decimal(limit, 2)
    return plural(found, "difference", "differences"), "none allowed" if limit == 0 else count(
        limit
    )


def _share(found: float | None) -> str:
    if found is None:
        return "the test itself works: see the picture"
    return f"at most {decimal(max(found, 0.0), 3)} of anybody's history"


def scores(facts: Any) -> str | None:
    """The picture of the a-scores: three clouds and the line, None if they were not kept."""
    found = {str(one.get("name")): one for one in records(dig(facts, "certificate", "clouds"))}
    groups = [
        Cloud(label, kind, _bins(found[name]), int(number(found[name].get("silent")) or 0))
        for name, (kind, label) in _KINDS.items()
        if name in found
    ]
    limit = number(dig(_layer(facts, "contribution"), "limit"))
    if not any(group.people for group in groups):
        return None
    ruler = Ruler(FIRST_BIN * BIN, (LAST_BIN + 1) * BIN, BIN, limit, "copies of a person's history")
    title = "How much of each person's history the version holds, for three groups of people"
    return pictures.clouds("scores", title, groups, ruler)


def _bins(cloud: Mapping[str, Any]) -> list[tuple[float, int]]:
    """Edges and people of the bins that are whole; a bin outside the axis is none of ours."""
    found: dict[int, int] = {}
    held = cloud.get("bins")
    for entry in held if isinstance(held, list) else []:
        pair = [number(value) for value in entry] if isinstance(entry, list) else []
        if len(pair) != 2 or pair[0] is None or pair[1] is None:  # noqa: PLR2004
            continue
        if FIRST_BIN <= pair[0] <= LAST_BIN and pair[1] > 0:
            found[int(pair[0])] = int(pair[1])
    return [(round(place * BIN, 9), people) for place, people in sorted(found.items()) if people]


def residual(facts: Any) -> str | None:
    """The picture of the largest residual beside its limit, None if it was not measured."""
    layer = _layer(facts, "normal_equations")
    found, limit = number(dig(layer, "measured")), number(dig(layer, "limit"))
    if found is None or limit is None or limit <= 0:
        return None
    title = "The largest residual of an item's equations beside its limit"
    return pictures.gauge("residual", title, found, limit, _KNOWN)


def rates(facts: Any) -> tuple[str, ...]:
    """Power and false-alarm rate of the residual test, as the certificate states them."""
    layer = _layer(facts, "contribution")
    told = (dig(layer, "power"), dig(layer, "false_alarms"))
    return tuple(str(text) for text in told if isinstance(text, str) and text)


def _layer(facts: Any, name: str) -> Mapping[str, Any]:
    layers = records(dig(facts, "certificate", "layers"))
    return next((layer for layer in layers if layer.get("layer") == name), {})
