"""Completion of command lines in a shell: what a word may be, the names that a queue has for it, and the scripts."""
