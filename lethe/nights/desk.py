"""The desk of whoever judges: one workspace's register, keys and solution versions at hand."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lethe.adapters.solution_versions import SolutionVersions
from lethe.errors import ArtifactCorrupt, PromotionRefused, WrongKey
from lethe.estate.workspace import Workspace
from lethe.interactions.rights.identity import Keys
from lethe.interactions.rights.register import Register
from lethe.params import Params
from lethe.solutions.factors import Solution, read_solution
from lethe.stages import opening


@dataclass(frozen=True)
class Desk:
    """What a judge needs at hand: one workspace's register, keys and solution versions."""

    workspace: Workspace
    params: Params
    register: Register
    keys: Keys
    versions: SolutionVersions

    @classmethod
    def open(cls, workspace: Workspace, params: Params, keys: Keys | None = None) -> Desk:
        """Open everything, or raise what could not be opened; the keys unless they are given."""
        return cls(
            workspace,
            params,
            opening.open_register(workspace, params),
            keys or opening.open_identities(workspace),
            opening.open_solutions(workspace, params),
        )

    def champion(self) -> int | None:
        """The version that the champion alias points to."""
        return self.versions.champion()

    def artifact_digest(self, version: int) -> str:
        """The digest of a version's stored bytes, as promotion asks for it."""
        return self.versions.artifact_digest(version)

    def user_tombstones(self, version: int) -> frozenset[str]:
        """Tombstones of the users in a version's stored id list.

        Without canaries that were erased later: they do not stand in the way of going back to it.
        """
        stored = self.read(version)
        later = self.register.standing().canaries_since(stored.manifest.register_position)
        return frozenset(self.tombstones(stored)) - later

    def set_champion(self, version: int | None) -> None:
        """Move the champion alias; only the promotion protocol calls this."""
        self.versions.set_champion(version)

    def set_challenger(self, version: int | None) -> None:
        """Move the challenger alias."""
        self.versions.set_challenger(version)

    def tombstones(self, stored: Solution) -> tuple[str, ...]:
        """One tombstone for each user of a version, in order, whatever the generation of its names.

        Raises:
            ArtifactCorrupt: the name key of that generation is gone: it can hold anybody.
        """
        try:
            return tuple(self.keys.of(stored.manifest.names).stones(stored.users))
        except WrongKey as error:
            raise ArtifactCorrupt(f"a stored version cannot be read: {error}") from None

    def refuse_former_names(self, version: int) -> None:
        """Only a version under the present names may become champion: others are to be destroyed.

        Raises:
            PromotionRefused: the version's names are of a former generation.
        """
        if self.read(version).manifest.names != self.keys.generation:
            raise PromotionRefused(
                f"version {version} was named before the pseudonym key was replaced; "
                "the next night makes one under the present names"
            )

    def fetch(self, version: int) -> Path:
        """A version's folder, copied out of the store into the temporary folder."""
        return self.versions.fetch(version, self.workspace.temporary / f"version-{version}")

    def read(self, version: int) -> Solution:
        """A version as stored, read through the allow-list."""
        return read_solution(self.fetch(version))
