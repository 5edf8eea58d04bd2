"""How a command ran and how it ended: the fields that the process of an attempt and the events share."""

import msgspec


class Execution(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True, gc=False):
    """What is known of a command that has run. Durations are seconds, sizes bytes; None: not known."""

    run_seconds: float | None = None
    """Until the end of the main process was seen, by a monotonic clock."""
    exit_code: int | None = None
    """None where a signal ended it, or it was never started. Set also where it exits by itself after a TERM."""
    signal: int | None = None
    """The number of the signal that ended it."""
    cpu_seconds: float | None = None
    """User and system time of the main process and of the children it waited for."""
    max_rss: int | None = None
    """Peak memory of the largest of these processes; None where it is no more than the worker's own (R15)."""
    output_bytes: int | None = None
    """Size of the output file, including what was cut out of it."""
    output_cut: int | None = None
    """Bytes removed from the middle of the output because it grew past the limit; None: none."""
    limited_by: str | None = None
    """What kept its memory limit: `cgroup` (of all its processes together) or `rlimit` (RLIMIT_AS, the address space
    of each); None: it had none."""
    progress: float | None = None
    """How many percent were done, as the command said last; None: it said nothing."""
    progress_text: str | None = None
    """What it was at, as it said then."""
    kept: bool = False
    """Whether processes of the attempt are left running, because the job has `keep_children`; they carry its tag."""
