"""Training code and trained networks; run as ``python -m models.train`` from the repository."""
