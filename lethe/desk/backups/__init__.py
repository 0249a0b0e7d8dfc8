"""Backups of a workspace: taken, brought back, and what the stack's databases add to both."""
