"""Training for recommenders that can forget: the core, which knows no orchestrator."""
