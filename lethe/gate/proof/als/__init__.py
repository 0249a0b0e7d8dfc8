"""Layers 4 to 6: what the equations of ALS say about who contributed to the factors."""
