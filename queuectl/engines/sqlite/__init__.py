"""The default engine: log and projections in one SQLite file."""
