"""Steps 5 and 6: what is learned from and judged on, the search, and the training."""
