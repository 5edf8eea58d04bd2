"""What the log says in figures, and what another retry policy would have made of it."""
