"""A job changed in the user's editor."""

from collections.abc import Callable, Mapping
from typing import Any

from projections.jobs import Job
from queuectl.cli import job_text
from queuectl.cli.ui import editor


def edit_text(job: Job, fields: Mapping[str, Any], edit: Callable[[str, Mapping[str, Any]], list[str]]) -> list[str]:
    """Change a job to what its user makes of its text, and in these fields; returns its id if anything is another.

    `edit` is given its id and the arguments of `Queue.edit`. Raises QueueError; the user's text is kept then.
    """
    text = job_text.text(job)
    with editor.edited(text) as after:
        said = job_text.differences(text, after)
        changes = {**said, **fields, "version": job.version, "whole": [*said]}
        return edit(job.id, changes) if said else []
