"""The proof on the page of a night: each layer in plain words, and its two pictures."""
