"""The steps of a night after the data stages, each a plain function."""
