"""What a night says while it runs: lines for people, one object an event for machines."""
