"""What a night remembers of the one before."""
