"""The data stages: `python -m lethe.stages NAME` is what dvc.yaml runs."""
