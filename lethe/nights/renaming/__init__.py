"""A replacement of the pseudonym key: every stored name is wrapped under a new name key."""
