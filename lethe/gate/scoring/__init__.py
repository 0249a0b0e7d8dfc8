"""How good a solution is, and whether that is good enough."""
