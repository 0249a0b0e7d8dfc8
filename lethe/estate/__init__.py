"""Every store that may hold a person's data, and how it forgets."""
