"""The membership audit: how well an attacker tells who was trained on. A report, not a gate."""
