"""Batch outputs: made from the champion, and emptied of whoever may not be served any more."""
