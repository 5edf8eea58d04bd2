"""The log for others: exports for analysis."""
