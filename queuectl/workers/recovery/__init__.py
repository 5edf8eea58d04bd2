"""Recovery of the jobs of dead and hung workers (R11, R18-R21)."""
