"""The chores of a worker: what it does beside running commands, one file for each (`chore.py` has the protocol)."""
