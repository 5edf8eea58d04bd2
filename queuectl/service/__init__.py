"""Workers as a service of systemd: the unit, and the manager that is asked to run it."""
