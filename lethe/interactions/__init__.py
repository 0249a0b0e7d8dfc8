"""What happened, and who must be forgotten."""
