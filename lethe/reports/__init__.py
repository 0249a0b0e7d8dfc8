"""Pages and tables that people read: pure functions from facts to text."""
