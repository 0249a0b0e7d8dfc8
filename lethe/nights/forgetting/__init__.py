"""Step 10: what holds an erased person goes, history is rewritten, requests are closed."""
