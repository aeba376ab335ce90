"""The host's Git repository, through git's own command line and nothing else."""
