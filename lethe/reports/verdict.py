"""What a reader must know first: the verdict, the alarms, and whether deletion is proved.

Fails closed. Deletion counts as proved only if a certificate is at hand, says VERIFIED, passed
every layer that its recipe requires, and is about tonight's data version at tonight's register
position or later.
Facts are JSON-like and any may be missing; `dig` reads them without trusting their shape.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from lethe.gate.proof.report import Verdict, required_layers
from lethe.reports.wording import count, number, plural, sentence, setting

Tone = Literal["good", "bad", "warn", "idle"]


@dataclass(frozen=True)
class Told:
    """A statement, its tone, and the sentences that stand behind it."""

    tone: Tone
    title: str
    lines: tuple[str, ...] = ()


def dig(facts: Any, *path: str) -> Any:
    """The fact at `path`, None where anything on the way is missing or of another shape.

    >>> dig({"data": {"rows": 7}}, "data", "rows"), dig({"data": None}, "data", "rows")
    (7, None)
    """
    for name in path:
        facts = facts.get(name) if isinstance(facts, Mapping) else None
    return facts


def texts(value: Any) -> tuple[str, ...]:
    """A list of sentences; a single sentence is a list of one, anything else an empty one."""
    if isinstance(value, str):
        return (value,)
    return tuple(str(line) for line in value) if isinstance(value, list | tuple) else ()


def records(value: Any) -> list[Mapping[str, Any]]:
    """The mappings in a list, nothing for anything else."""
    if not isinstance(value, list | tuple):
        return []
    return [entry for entry in value if isinstance(entry, Mapping)]


def proof(facts: Mapping[str, Any]) -> Told:
    """Is it proved that the erased are absent from what was stored tonight?"""
    certificate = dig(facts, "certificate")
    if not isinstance(certificate, Mapping) or not certificate:
        line = "Without one, this page proves nothing about the erased."
        return Told("warn", "Not proved: no certificate is at hand", (line,))
    said = certificate.get("verdict")
    if said == Verdict.INCONCLUSIVE:
        line = "A layer could not answer, so nothing is claimed."
        return Told("warn", "Not proved: verification was inconclusive", (line, *_failed(facts)))
    if said == Verdict.REFUSED:
        return Told("bad", "Not proved: verification refused this version", _failed(facts))
    doubts = (*_missing(certificate), *_failed(facts), *_about_something_else(facts))
    if said != Verdict.VERIFIED:
        doubts = ("The certificate states no verdict that is known.", *doubts)
    if doubts:
        return Told("bad", "Not proved: the certificate does not bear it out", doubts)
    layers = len(records(certificate["layers"]))
    return Told("good", f"Proved: all {layers} layers of verification passed")


def _missing(certificate: Mapping[str, Any]) -> tuple[str, ...]:
    ran = {str(layer.get("layer")) for layer in records(certificate.get("layers"))}
    required = required_layers(str(certificate.get("recipe")), texts(certificate.get("required")))
    doubts = [f"The layer {name} is missing." for name in required if name not in ran]
    for name in ("digest", "artifact_digest", "data_version"):
        if not certificate.get(name):
            doubts.append(f"The certificate's {name.replace('_', ' ')} is missing.")
    if number(certificate.get("register_position")) is None:
        doubts.append("The certificate's register position is missing.")
    return tuple(doubts)


def _failed(facts: Mapping[str, Any]) -> tuple[str, ...]:
    layers = records(dig(facts, "certificate", "layers"))
    return tuple(
        f"The layer {setting(layer.get('layer'))} "
        + ("could not answer." if layer.get("conclusive") is False else "did not pass.")
        for layer in layers
        if layer.get("passed") is not True or layer.get("conclusive") is False
    )


def _about_something_else(facts: Mapping[str, Any]) -> tuple[str, ...]:
    doubts = []
    version, used = dig(facts, "certificate", "data_version"), dig(facts, "data", "digest")
    if version and used and version != used:
        doubts.append("It is about another data version than tonight's.")
    covered = number(dig(facts, "certificate", "register_position"))
    needed = number(dig(facts, "data", "register_position"))
    if covered is not None and needed is not None and covered < needed:
        doubts.append(
            f"It covers the register up to position {count(covered)}; "
            f"tonight's data stands at {count(needed)}."
        )
    return tuple(doubts)


def verdict(facts: Mapping[str, Any]) -> Told:
    """What the night decided, with its reasons."""
    outcome, version = dig(facts, "night", "outcome"), dig(facts, "night", "version")
    named = f"version {count(version)}" if number(version) is not None else "a version"
    if outcome == "promoted":
        return _promoted(facts, named)
    if outcome == "refused":
        title = f"Refused: {named} was not promoted"
        why = reasons(facts) or ("No reason was recorded.",)
        return Told("bad", title, (_standing(facts), *why))
    if outcome == "nothing new":
        title = "Nothing new: no version was made, none was needed"
        return Told("idle", title, (_standing(facts), *reasons(facts)))
    if outcome == "failed":
        told = "It did not reach its end; what follows is what was recorded until then."
        return Told("bad", "Failed: the night broke off", (told, _standing(facts), *reasons(facts)))
    title = "No outcome was recorded for this night"
    return Told("warn", title, ("Treat it as not promoted.", *reasons(facts)))


def _promoted(facts: Mapping[str, Any], named: str) -> Told:
    before = dig(facts, "night", "champion")
    replaces: tuple[str, ...] = ()
    if number(before) is not None and before != dig(facts, "night", "version"):
        replaces = (f"It replaces version {count(before)}.",)
    if proof(facts).tone != "good":
        line = "It became the champion, but this page holds no proof of deletion for it."
        return Told("bad", f"Promoted without proof: {named}", (line, *replaces, *reasons(facts)))
    title = f"Promoted: {named} is the new champion"
    return Told("good", title, (*replaces, *reasons(facts)))


def _standing(facts: Mapping[str, Any]) -> str:
    champion = dig(facts, "night", "champion")
    if number(champion) is None:
        return "There is no champion on record."
    return f"Version {count(champion)} is the champion on record."


def reasons(facts: Mapping[str, Any]) -> tuple[str, ...]:
    """Why: the night's reasons and, if quality was refused, the rule's, each once."""
    told = texts(dig(facts, "night", "reasons"))
    if dig(facts, "quality", "accepted") is False:
        told += texts(dig(facts, "quality", "reasons"))
    return tuple(dict.fromkeys(sentence(reason) for reason in told))


def alarms(facts: Mapping[str, Any]) -> tuple[str, ...]:
    """What needs a person, whatever the verdict."""
    found = []
    if dig(facts, "retired", "champion_holds_erased") is True:
        found.append("The champion was trained on a person who has since been erased.")
    hits = number(dig(facts, "retired", "hits"))
    if hits:
        traces = plural(hits, "trace", "traces")
        found.append(f"The search of the stores still found {traces} of the erased.")
    overdue = number(dig(facts, "requests", "overdue"))
    if overdue:
        found.append(f"{plural(overdue, 'request is', 'requests are')} overdue.")
    if dig(facts, "night", "outcome") == "promoted" and (
        dig(facts, "quality", "accepted") is False
    ):
        found.append("The version was promoted although the quality rule refused it.")
    return tuple(found)
