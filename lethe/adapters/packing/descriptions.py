"""What a version's description says, paragraph by paragraph."""

from __future__ import annotations

from collections.abc import Mapping


def described_with(text: str, lines: Mapping[str, str]) -> str:
    """A description with its last words replaced: each `Name: text` is a paragraph of one line.

    >>> described_with("als\\n\\nVerdict: none yet", {"Verdict": "VERIFIED", "Promotion": "no"})
    'als\\n\\nVerdict: VERIFIED\\n\\nPromotion: no'
    """
    paragraphs = [part for part in text.split("\n\n") if part]
    for name, said in lines.items():
        new = f"{name}: {' '.join(said.split())}"
        old = [n for n, part in enumerate(paragraphs) if part.startswith(f"{name}: ")]
        place = old[-1] if old else len(paragraphs)
        paragraphs[place : place + 1] = [new]
    return "\n\n".join(paragraphs)
