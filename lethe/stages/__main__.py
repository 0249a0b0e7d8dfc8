"""`python -m lethe.stages NAME`: one data stage of dvc.yaml, in the workspace of this folder.

DVC reports any failure of a stage as its own, so the stage's error is left in
`.lethe/stage-error.json`, where the adapter reads it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from lethe.durable import write_json
from lethe.errors import BadConfiguration, LetheError
from lethe.estate.process import importing, leave_out, settle
from lethe.estate.workspace import Workspace


def run(name: str, folder: Path) -> None:
    """Run the stage called `name` in the workspace at `folder`.

    Raises:
        LetheError: no such stage, or what the stage raises.
    """
    workspace = Workspace.find(folder)
    settle(workspace)
    with importing():
        from lethe.params import Params, read_params
        from lethe.stages import intake, snapshots

    stages: dict[str, Callable[[Workspace, Params], object]] = {
        "interactions": intake.interactions,
        "training": snapshots.training,
    }
    if name not in stages:
        raise BadConfiguration(f"no data stage is called {name!r}; known: {', '.join(stages)}")
    stages[name](workspace, read_params(workspace.params))


def main(arguments: Sequence[str]) -> int:
    """The exit code: 0, or that of the error, which is also written down and printed."""
    folder = Path.cwd()
    try:
        if len(arguments) != 1:
            raise BadConfiguration("python -m lethe.stages takes the name of one data stage")
        run(arguments[0], folder)
    except LetheError as error:
        print(f"lethe: {error}", file=sys.stderr)
        if (folder / ".lethe").is_dir():
            write_json(
                folder / ".lethe" / "stage-error.json",
                {
                    "error": type(error).__name__,
                    "exit_code": error.exit_code,
                    "message": str(error),
                },
            )
        return error.exit_code
    return 0


if __name__ == "__main__":
    leave_out("pandas")  # pyarrow imports it with the first array, and needs it for none of ours
    sys.exit(main(sys.argv[1:]))
