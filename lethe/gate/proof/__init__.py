"""Deletion verification: layers, controls, verdict, certificate."""
