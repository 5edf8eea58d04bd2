"""What becomes of the attempts of a worker that died or hangs (R11, R18-R21)."""
