"""What a reviewer reads on MLflow's own pages."""
