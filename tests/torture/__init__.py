"""Torture: real processes are killed at random while jobs write down what they do, which is judged against the log.

The short form runs with the other tests; `python -m tests.torture --full` runs the long one and prints its figures.
"""
