"""What people see: tables, wording, timelines, output on a terminal."""
