"""Workers: processes that claim jobs and run their commands."""
