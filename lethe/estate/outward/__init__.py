"""What others read here: who serves a model, and who was given people's data."""
