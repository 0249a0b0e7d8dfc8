"""MLflow reached, how a solution is packed for it, and whether a stored package is still that."""
