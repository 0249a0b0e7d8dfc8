"""From purged interactions to the matrix that a recipe learns from."""
