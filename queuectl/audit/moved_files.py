"""What goes with a log into another database: inputs of jobs, and of outputs what other hosts can read."""

import os
from collections.abc import Iterator
from itertools import islice

from queuectl import inputs
from queuectl.engines.base import Engine
from queuectl.engines.shared_files import OutputEnds
from queuectl.home import STDERR, job_of
from queuectl.outputs import ends_of

PAGE = 1000


def bring(source: Engine, target: Engine) -> None:
    """Keep in one queue the inputs that another has, and, where it keeps such, the ends of outputs. Raises Unusable.

    Nothing of it is seen before the log is there.
    """
    for name in inputs.names(source):
        if (data := inputs.read(name, source)) is not None:
            inputs.keep(name, data, target)
    if target.shared_files is not None:
        ends = _ends(source)
        while page := list(islice(ends, PAGE)):
            target.shared_files.keep_outputs(page)


def _ends(source: Engine) -> Iterator[OutputEnds]:
    """Of outputs of every host, as they were kept, or of the files here."""
    if source.shared_files is not None:
        yield from source.shared_files.every_output()
        return
    with os.scandir(source.home.output) as entries:
        for entry in entries:
            lease = entry.name.rpartition(".")[0].rpartition(".")[2]
            if lease.isdecimal() and not entry.name.endswith(STDERR):
                yield from ends_of(entry.path, job_of(entry.name), int(lease))
