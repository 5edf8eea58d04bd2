"""Execution of one attempt: its command as an OS process, and its output file."""
