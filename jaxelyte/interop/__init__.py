"""Files and programs of others: NequIP models, trajectory formats, ASE."""
