"""What people ask of a workspace between nights."""
