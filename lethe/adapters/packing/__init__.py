"""How a solution is packed for MLflow, and whether a stored package is still that."""
