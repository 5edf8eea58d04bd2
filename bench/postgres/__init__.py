"""The figures of the engine for PostgreSQL: `python -m bench --postgres`.

The server comes out of the wheel that the tests have, and is as durable as one is outside of tests: fsync, full-page
writes and synchronous commit are on, for us, for the floor and for the others alike.
"""
