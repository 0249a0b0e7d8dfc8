"""Landed files become canonical rows, or are refused and kept."""
