"""The page of a membership audit."""
