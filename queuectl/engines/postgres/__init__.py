"""The engine for many machines: log and projections in a schema of a PostgreSQL database."""
