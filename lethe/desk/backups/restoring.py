"""Bringing a backup back: into the same folder, under the present register, and purged at once.

A marker is laid down before anything is replaced, and while it lies there every other command
refuses. The aliases are taken out of MLflow's database before it is put in place, so that nothing
can be served either. A restore that is killed anywhere is started again from the archive.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lethe.durable import locked, sync_folder, write_json
from lethe.errors import BadInput, NotAWorkspace
from lethe.estate import backups
from lethe.estate.backups import Opened
from lethe.estate.process import configured_kernel, settle
from lethe.estate.stores import DUMPS
from lethe.estate.workspace import Workspace

if TYPE_CHECKING:
    from lethe.desk.backups.dumps import Dump
    from lethe.desk.stack.addresses import Addresses
    from lethe.interactions.rights.standing import Head
    from lethe.nights.forgetting.replaying import Replayed

_WAIT = 5.0
_LANDING, _EVIDENCE = "data/landing", ".lethe/evidence"


def restore(workspace: Workspace, file: Path, register: Path | None = None) -> dict[str, Any]:
    """Replace the workspace's stores by those of a backup, and replay the register over them.

    Keys and register must be there already: they are not in the backup. `register` is a copy of
    the register for a workspace whose own is empty. A backup of a stack goes into another one,
    which is up and has no history.

    Raises:
        NotAWorkspace: there are no keys here.
        BadInput: the file is no backup, was made elsewhere, or would hide a landed file; a stack
            would lose a history, or a register its entries.
        WrongKey: it was made, or signed, with other keys.
        ArtifactCorrupt: it is damaged, or the register is older than what is known of it.
        StoreUnavailable: there is no register, or a store failed: start again.
        Busy: a night or an experiment is running.
    """
    path = file.resolve()
    if not workspace.fingerprints.is_file():
        raise NotAWorkspace("there are no keys here: put them and the register back first")
    if path.is_relative_to(workspace.root):
        raise BadInput("the backup must lie outside the workspace, whose stores it replaces")
    if not path.is_file():
        raise BadInput(f"there is no file {path.name}")
    os.umask(0o077)
    staged = workspace.temporary / "restore"
    with (
        locked(workspace.night_lock, _WAIT),
        locked(workspace.state / "experiments" / "lock", _WAIT),
    ):
        with _emptied_around(staged):
            opened = backups.unpack(path, staged)
            settle(workspace, configured_kernel(Workspace(staged)))
            # numpy comes with these: not before its kernel is settled
            from lethe.desk.backups import registers
            from lethe.desk.backups.checking import checked
            from lethe.estate.keys import keys_before
            from lethe.estate.renaming import name_keys

            stack, loading = _dumps(workspace, staged, opened)
            known = registers.to_compare(workspace, register)
            head = checked(workspace, Workspace(staged), opened, known)
            _mark(workspace, opened, head)
            if register is not None:
                registers.carry_in(workspace, stack, known, head)
            champion = _loaded(stack, loading) if stack else _without_aliases(staged)
            _replace(workspace, staged)
            name_keys.settle(workspace, keys_before(workspace), opened.backup.keys.get("names"))
        done = _replayed(workspace, opened)
        champion = _champion_again(workspace, champion)
        _unmark(workspace, opened, head, done, champion)
    return _told(opened, head, done, champion)


@contextlib.contextmanager
def _emptied_around(folder: Path) -> Iterator[None]:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, mode=0o700)
    try:
        yield
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _mark(workspace: Workspace, opened: Opened, head: Head) -> None:
    from lethe.stages import opening

    # The head first: whatever becomes of this restore, an older register is refused from now on.
    opening.write_position(workspace.register_anchor, head)
    write_json(
        workspace.restoring,
        {"backup_made": opened.backup.made, "register_position": head.position},
    )


def _dumps(
    workspace: Workspace, staged: Path, opened: Opened
) -> tuple[Addresses | None, tuple[Dump, ...]]:
    """The stack, if there is one, and what of the backup goes into its databases."""
    from lethe.desk.backups import dumps

    stack = dumps.stack_of(workspace)
    held = any(Path(kept.path).is_relative_to(DUMPS) for kept in opened.backup.files)
    if held and stack is None:
        raise BadInput("the backup is one of a stack: `lethe up` first, then restore")
    if stack is None:
        return None, ()
    if not held:
        raise BadInput(
            "the backup was made before there was a stack: restore it into a workspace without "
            "one, then `lethe up --move`"
        )
    return stack, dumps.fitting(stack, staged, again=workspace.restoring.exists())


def _loaded(stack: Addresses, loading: tuple[Dump, ...]) -> int | None:
    """Fill the databases, without the aliases; the champion that there was."""
    from lethe.adapters.packing.database import taken
    from lethe.desk.backups import dumps

    champion = None
    for dump in loading:
        champion = taken(dumps.load(stack, dump)).get("champion", champion)
    shutil.rmtree(loading[0].file.parent)
    return champion


def _without_aliases(staged: Path) -> int | None:
    """Nothing may be served from what is not purged yet; the champion that there was."""
    from lethe.adapters.packing.database import take_aliases

    database = Workspace(staged).mlflow / "mlflow.db"
    return take_aliases(database).get("champion") if database.is_file() else None


def _replace(workspace: Workspace, staged: Path) -> None:
    """Put every place of the backup where it belongs. What is in landing stays beside it."""
    for place in (*backups.passing_places(), *backups.places()):
        target, source = workspace.root / place, staged / place
        if place not in (_LANDING, _EVIDENCE):
            _empty(target)
        if source.is_dir():
            _move_into(source, target)
        elif source.exists():
            target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            shutil.move(source, target)
    for folder in (workspace.landing, workspace.quarantine):
        folder.mkdir(parents=True, exist_ok=True)
    for folder in (workspace.receipts, workspace.restricted, workspace.reports):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)


def _empty(place: Path) -> None:
    """A folder stays, since it may be a link to another disk; what is in it goes."""
    if place.is_dir():
        for child in place.iterdir():
            if child.is_dir() and not child.is_symlink():
                shutil.rmtree(child)
            else:
                child.unlink()
    else:
        place.unlink(missing_ok=True)


def _move_into(source: Path, target: Path) -> None:
    target.mkdir(parents=True, exist_ok=True, mode=0o700)
    for child in sorted(source.iterdir()):
        there = target / child.name
        if child.is_dir() and there.is_dir():
            _move_into(child, there)
        elif not there.exists():  # evidence and landed files that are there are the newer ones
            shutil.move(child, there)


def _replayed(workspace: Workspace, opened: Opened) -> Replayed:
    from lethe.nights.desk import Desk
    from lethe.nights.forgetting.replaying import replay
    from lethe.stages import opening

    desk = Desk.open(workspace, opening.open_params(workspace))
    data = opening.open_data(workspace)
    data.init()
    return replay(desk, data, opened.backup.register_position)


def _champion_again(workspace: Workspace, champion: int | None) -> int | None:
    """The champion of then serves again, if nothing speaks against it today."""
    from lethe.desk.rolling_back import why_unsafe
    from lethe.nights.desk import Desk
    from lethe.stages import opening

    desk = Desk.open(workspace, opening.open_params(workspace))
    if champion is None or why_unsafe(desk, champion, desk.register.standing()):
        return None
    desk.set_champion(champion)
    return champion


def _unmark(
    workspace: Workspace, opened: Opened, head: Head, done: Replayed, champion: int | None
) -> None:
    from lethe.stages import opening

    now = opening.now()
    write_json(
        workspace.evidence / f"restore-{now}.json",
        {
            "backup_made": opened.backup.made,
            "backup_register_position": opened.backup.register_position,
            "register_position": head.position,
            "champion": champion,
            **done.facts(),
            "written": now,
        },
    )
    os.sync()  # all that was moved must be on the disk before anybody works with it
    workspace.restoring.unlink()
    sync_folder(workspace.state)


def _told(opened: Opened, head: Head, done: Replayed, champion: int | None) -> dict[str, Any]:
    since = head.position - opened.backup.register_position
    serves = (
        f"version {champion} is champion"
        if champion is not None
        else "there is no champion until a night makes one"
    )
    if done.untold:
        serves += (
            f"; recipients cannot be told of {done.untold} open requests: nobody is known by id"
        )
    return {
        "files": len(opened.backup.files),
        "backup_register_position": opened.backup.register_position,
        "register_position": head.position,
        "champion": champion,
        **done.facts(),
        "text": f"{len(opened.backup.files)} files restored; {since} register entries replayed: "
        f"{done.people} people erased since, {done.rows} rows out, {done.rewritten} data versions "
        f"rewritten, {done.versions} solution versions destroyed; nobody found in "
        f"{done.searched_files} files; {serves}",
    }
