"""All that is held on people, for themselves (GDPR Art. 15)."""
