"""Keys that are the same in every run, for workspaces whose nights must end the same.

Pseudonyms decide the order of the users, and who a canary copies: under other keys a night of a few
dozen people learns other factors, and the quality rule may find them worse than last night's.
"""

from __future__ import annotations

import hashlib
from pathlib import Path


def lay_keys(root: Path, seed: int = 2) -> None:
    """Lay a pseudonym and a tombstone key where `lethe init` will find them."""
    folder = root / ".lethe" / "keys"
    folder.mkdir(parents=True, mode=0o700)
    folder.parent.chmod(0o700)
    for name in ("pseudonym", "tombstone"):
        file = folder / f"{name}.key"
        file.write_text(hashlib.sha256(f"{name} {seed}".encode()).hexdigest() + "\n")
        file.chmod(0o600)
