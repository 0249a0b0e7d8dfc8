"""The name keys, which come with the first replacement of the pseudonym key."""
