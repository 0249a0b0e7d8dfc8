"""Who is who, and who must be forgotten."""
