"""Invented users who are erased in place of people: who there is, and how they are made."""
