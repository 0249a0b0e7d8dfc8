"""What an operator asks of the estate: who is where, how much, and which versions are kept."""
