"""Leases: the right to an attempt."""

import msgspec

from projections.jobs import Job
from queuectl.errors import Fenced


class Lease(msgspec.Struct, frozen=True, gc=False):
    """The right to start an attempt and to report its outcome."""

    job: str
    attempt: int
    version: int
    """Version of the `claimed` event in the job's stream."""


def lease(job: Job) -> Lease:
    """The lease by which a processing job is held. Raises Fenced where the job is not processing."""
    if job.lease is None:
        raise Fenced(f"job {job.id} is {job.state}: nobody holds it")
    return Lease(job.id, job.attempt, job.lease)


def is_held(job: Job, lease: Lease) -> bool:
    """Whether a job is held by this lease, and by no later one: the fence."""
    return job.state == "processing" and job.lease == lease.version and job.attempt == lease.attempt
