"""Linux, and nothing of queues: processes, locks, files, mounts, disks."""
