"""What a worker does beside running commands, each chore in a file of its own."""
