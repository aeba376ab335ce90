"""Ground floor: ids, digests, canonical JSON, the error tree, limits. Imports nothing of ours."""
