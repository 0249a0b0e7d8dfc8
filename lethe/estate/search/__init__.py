"""Looking for people in every store of the estate."""

from lethe.estate.search.looking import Hits, fields_of, holds, search
from lethe.estate.search.needles import Needles

__all__ = ["Hits", "Needles", "fields_of", "holds", "search"]
