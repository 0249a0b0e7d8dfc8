"""Metrics, evaluation, deletion verification and the promotion rule."""
