"""Loose rows: what lies in quarantine, or in the sample's request files, of people now erased."""

from __future__ import annotations

from collections.abc import Iterable

from lethe.estate.search import Needles, fields_of, holds
from lethe.estate.workspace import Workspace
from lethe.interactions.intake.quarantine import Quarantine
from lethe.interactions.intake.rules import InteractionRules
from lethe.interactions.rights.identity import Identities, Keys, canonical_id, id_fault
from lethe.interactions.rights.standing import Standing


def late_ids(
    workspace: Workspace, rules: InteractionRules, keys: Keys, standing: Standing
) -> set[str]:
    """Erased people in quarantine whom the vault forgot: late files bring refused rows as well.

    Every field there is asked whether it is the id of somebody erased. The answer may be "yes" for
    a number that means something else; here it is better to remove too much.
    """
    if not standing.erased or not workspace.quarantine.is_dir():
        return set()
    texts: set[str] = set()
    for path in sorted(workspace.quarantine.iterdir()):
        texts |= fields_of(path)
    if rules.strip_float_suffix:
        texts |= {text.removesuffix(".0") for text in texts}
    names = [name for name in texts if id_fault(name, rules.case_fold) is None]
    people = Identities(keys, standing).resolve(
        [canonical_id(name, rules.case_fold) for name in names]
    )
    return {name for name, person in zip(names, people, strict=True) if person.erased}


def forget_loose_rows(
    workspace: Workspace, people: Iterable[tuple[str, str]], late: set[str]
) -> None:
    """Quarantined rows, and the sample's request files, of people who are now erased.

    What the search still finds in quarantine, since it decodes more than lines, goes whole.
    """
    pairs = list(people)
    names = {name for _, name in pairs} | late
    if not names:
        return
    quarantine = Quarantine(workspace.quarantine)
    quarantine.forget(names)
    needles = Needles.of((pseudonym for pseudonym, _ in pairs), names)
    for folder in (quarantine.folder, workspace.state / "requests"):
        for path in sorted(folder.glob("*")):
            if path.is_file() and holds(path, needles, fields=True)[0]:
                path.unlink()
                path.with_name(f"{path.name[:12]}.reason.json").unlink(missing_ok=True)
