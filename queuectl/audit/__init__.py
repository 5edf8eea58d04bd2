"""The log as evidence: seals, verification, archives, backups, imports."""
