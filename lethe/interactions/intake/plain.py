"""Columns of which one look at the bytes says that no slow rule would find anything.

Most exports are plain ASCII without outer spaces: then every id is its own canonical form and
every text stays what it is. Where that is not so, the slow rules look at each text.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import pyarrow as pa

_SPACE: Final = 0x20
_TILDE: Final = 0x7E


def every(texts: Any, most: int, first: int = _SPACE, last: int = _TILDE) -> bool:
    """Whether each text of an Arrow string column is 1 to `most` bytes, all from `first` to `last`.

    A text that begins or ends with a space is none of these. False for a column that holds a
    null or has another type.

    >>> every(pa.array(["a b", "c"]), 3), every(pa.array(["a "]), 3), every(pa.array([""]), 3)
    (True, False, False)
    """
    if not isinstance(texts, pa.StringArray) or texts.null_count:
        return False
    if not len(texts):
        return True
    _, places, content = texts.buffers()
    ends = np.frombuffer(places, np.int32)[texts.offset : texts.offset + len(texts) + 1]
    lengths = np.diff(ends)
    if lengths.min() < 1 or lengths.max() > most:
        return False
    letters = np.frombuffer(content, np.uint8)[ends[0] : ends[-1]]
    if letters.min() < first or letters.max() > last:
        return False
    places = ends - ends[0]
    outer = np.concatenate((letters[places[:-1]], letters[places[1:] - 1]))
    return not bool((outer == _SPACE).any())
