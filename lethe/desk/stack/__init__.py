"""The stack: PostgreSQL, the servers of MLflow and Prefect, and a worker, all on loopback."""
