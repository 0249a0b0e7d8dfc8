"""Looking for people in every store of the estate."""

from lethe.estate.search.looking import Hits, Needles, fields_of, holds, search

__all__ = ["Hits", "Needles", "fields_of", "holds", "search"]
