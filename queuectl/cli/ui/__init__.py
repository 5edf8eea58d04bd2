"""What is printed: tables, wording, timelines, the output of commands."""
