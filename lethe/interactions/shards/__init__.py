"""The interactions on disk: parquet by month and user bucket."""
