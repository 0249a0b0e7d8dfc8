"""What others read here: who serves a model."""
