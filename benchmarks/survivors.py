"""What mutation left over: survivors, those among them that change nothing, and the page.

A survivor is held equivalent by its module, a part of its line's text, and the operator (a pattern
of `fnmatch`). A mutant that a test does notice is counted as killed, whatever stands here.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path


@dataclass(frozen=True)
class Equivalent:
    """Changes by `operator` on a line with `text` in `module` do nothing, because of `reason`."""

    module: str
    text: str
    operator: str
    reason: str


KNOWN: tuple[Equivalent, ...] = (
    Equivalent(
        "gate/promotion.py",
        'item.state == "done"',
        "ReplaceComparisonOperator_Eq_GtE",
        "only an open intent's state is greater, and all were ended before",
    ),
    Equivalent(
        "gate/promotion.py",
        "register.entries(since=position - 1, upto=position)",
        "NumberReplacer",
        "entries before the certificate's own may be read too: it is looked up by its position; "
        "one that is not read at all is noticed",
    ),
    Equivalent(
        "rights/standing.py",
        "(*what, *rest), strict=True)",
        "ReplaceTrueWithFalse",
        "both have seven parts, by their types",
    ),
    Equivalent(
        "rights/standing.py",
        "@dataclass(slots=True)",
        "RemoveDecorator",
        "nothing gives it a value when it is made: the defaults do as attributes of the class",
    ),
    Equivalent(
        "rights/register.py",
        "def entries(self, since: int = 0",
        "NumberReplacer",
        "positions begin at 1: after -1 is after 0; after 1 is noticed",
    ),
    Equivalent(
        "rights/register.py",
        "Head(rows[0].position, rows[0].digest) if rows",
        "NumberReplacer",
        "one row was asked for: the first is the last; a second one does not exist and is noticed",
    ),
    Equivalent(
        "rights/register.py",
        "rows.get(row.position, 0)",
        "NumberReplacer",
        "no purge removes fewer than no rows, so -1 is as low as 0; 1 is noticed",
    ),
    Equivalent(
        "rights/standing.py",
        "@dataclass(slots=True)",
        "ReplaceTrueWithFalse",
        "slots save memory; nothing sets an attribute that is no field",
    ),
    Equivalent(
        "rights/standing.py",
        "erased_on: int = 0",
        "NumberReplacer",
        "it is read only once an erasure has set it",
    ),
    Equivalent(
        "rights/standing.py",
        "action is Action.",
        "ReplaceComparisonOperator_Is_Eq",
        "a member of an enumeration equals itself alone",
    ),
    Equivalent(
        "rights/standing.py",
        "action is Action.WITHDRAW_OBJECTION and",
        "ReplaceComparisonOperator_Is_GtE",
        "by name it is the last of the actions: none is greater",
    ),
    Equivalent(
        "rights/identity.py",
        "@dataclass(frozen=True, slots=True)",
        "ReplaceTrueWithFalse",
        "slots save memory; nothing sets an attribute that is no field, and nothing may be set",
    ),
    Equivalent(
        "rights/identity.py",
        "range(0xE0100, 0xE01F0)",
        "NumberReplacer",
        "U+E00FF and U+E01F0 are refused before, as unknown to Unicode; the other ends are tested",
    ),
    Equivalent(
        "als/presence.py",
        "measured > 0 and correct",
        "ReplaceComparisonOperator_Gt_NotEq",
        "a count is never below nought",
    ),
    Equivalent(
        "als/controls.py",
        "np.diff(confidence.indptr) > 0",
        "ReplaceComparisonOperator_Gt_NotEq",
        "no history has fewer than no items",
    ),
    Equivalent(
        "als/contribution.py",
        "optimize=True)",
        "ReplaceTrueWithFalse",
        "the order in which a product is summed up saves time and nothing else",
    ),
    Equivalent(
        "als/contribution.py",
        "len(measured) == 0",
        "ReplaceComparisonOperator_Eq_LtE",
        "no length is below nought",
    ),
    Equivalent(
        "proof/retained.py",
        "table[attribute].to_pylist(), strict=True)",
        "ReplaceTrueWithFalse",
        "two columns of one table are as long as each other",
    ),
    Equivalent(
        "proof/retained.py",
        "key=lambda name: (-rows[name], name)",
        "ReplaceUnaryOperator_USub_Invert",
        "~n is -n - 1: the order is the same",
    ),
    Equivalent(
        "proof/layers.py",
        "minlength=len(kept)), strict=True)",
        "ReplaceTrueWithFalse",
        "both have one place for each item of the retained",
    ),
    Equivalent(
        "als/stationarity.py",
        "lagging > 0",
        "ReplaceComparisonOperator_Gt_NotEq",
        "a count is never below nought",
    ),
    Equivalent(
        "als/presence.py",
        "zip(groups, judged, strict=True)",
        "ReplaceTrueWithFalse",
        "there is one list of shares for each group",
    ),
)


@dataclass(frozen=True)
class Survivor:
    """A mutant that no test noticed: its line, as number and text, the operator, and in what."""

    line: int
    text: str
    operator: str
    place: str


@dataclass(frozen=True)
class Tally:
    """One module: mutants run, mutants noticed, the draw, and the others."""

    module: str
    run: int
    killed: int
    seed: int
    survivors: tuple[Survivor, ...]

    @property
    def equivalent(self) -> int:
        """Survivors that change nothing."""
        return sum(self.reason(one) is not None for one in self.survivors)

    def reason(self, one: Survivor) -> str | None:
        """Why a survivor changes nothing, or None."""
        return next(
            (
                known.reason
                for known in KNOWN
                if self.module.endswith(known.module)
                and known.text in one.text
                and fnmatchcase(one.operator, known.operator)
            ),
            None,
        )


def kept(folder: Path, modules: Iterable[str]) -> list[Tally]:
    """What was measured, in the order given."""
    found = []
    for module in modules:
        file = file_of(folder, module)
        if file.is_file():
            held = json.loads(file.read_text(encoding="utf-8"))
            left = tuple(Survivor(**one) for one in held.pop("survivors"))
            found.append(Tally(**held, survivors=left))
    return found


def file_of(folder: Path, module: str) -> Path:
    """Where a module's tally is kept."""
    return folder / f"{module.removesuffix('.py').replace('/', '.')}.json"


def _row(name: str, run: int, killed: int, equivalent: int) -> str:
    """A share is of those that change something."""
    share = killed / max(1, run - equivalent)
    return (
        f"| {name} | {run} | {killed} | {equivalent} | {run - killed - equivalent} | {share:.1%} |"
    )


def page(tallies: list[Tally]) -> str:
    """The document: a table, and every survivor by module and line."""
    sums = (
        sum(column)
        for column in zip(*((t.run, t.killed, t.equivalent) for t in tallies), strict=True)
    )
    seeds = " or ".join(sorted({str(t.seed) for t in tallies}))
    lines = [
        "# The verifier's own tests, measured\n",
        "Written by `benchmarks/mutation.py`; do not edit. One change of a kind at a place, drawn",
        f"with seed {seeds}. A mutant whose tests do not end counts as killed.",
        "The share is of those that change what the code does.\n",
        "| Module | Mutants | Killed | Equivalent | Survived | Share |",
        "|---|---:|---:|---:|---:|---:|",
        *(_row(f"`{t.module}`", t.run, t.killed, t.equivalent) for t in tallies),
        _row("**all**", *sums) + "\n",
    ]
    for title, wanted in (("Survivors", False), ("Equivalent: why nothing can notice", True)):
        lines.append(f"## {title}\n")
        for t in tallies:
            for one in t.survivors:
                why = t.reason(one)
                if (why is not None) is wanted:
                    told = f"- `{t.module}` line {one.line}, {one.operator}: `{one.text}`"
                    lines.append(told + (f": {why}" if why else ""))
        lines += ["None in these draws.", ""] if lines[-1].startswith("#") else [""]
    return "\n".join(lines).rstrip("\n") + "\n"


def told(one: Tally) -> None:
    """One module on the terminal."""
    print(
        f"{one.module}: {one.killed} of {one.run} killed, {one.equivalent} equivalent", flush=True
    )
    for left in one.survivors:
        if one.reason(left) is None:
            print(f"  line {left.line}: {left.operator} in {left.place}: {left.text}", flush=True)
