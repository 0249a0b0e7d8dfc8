"""What Prefect's pages show of a night."""
