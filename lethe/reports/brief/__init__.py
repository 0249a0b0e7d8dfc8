"""A night in a few tables and words, for pages that are not ours."""
