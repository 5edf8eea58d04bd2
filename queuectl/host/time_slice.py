"""The time slice of a process: how long it has the processor while others wait for it (sched_setattr(2))."""

import ctypes
import os

_SET_ATTR, _GET_ATTR = {"x86_64": (314, 315), "aarch64": (274, 275)}.get(os.uname().machine, (None, None))
_RESET_ON_FORK = 1


class _Attributes(ctypes.Structure):
    """`struct sched_attr` in its first version (48 bytes)."""

    _fields_ = [
        ("size", ctypes.c_uint32),
        ("policy", ctypes.c_uint32),
        ("flags", ctypes.c_uint64),
        ("nice", ctypes.c_int32),
        ("priority", ctypes.c_uint32),
        ("runtime", ctypes.c_uint64),
        ("deadline", ctypes.c_uint64),
        ("period", ctypes.c_uint64),
    ]


def shorten(seconds: float) -> bool:
    """Give this process a shorter time slice than others, from 100 µs; returns whether the kernel took it.

    A process with a shorter slice is put back on the processor sooner after it has slept: it waits less, and has no
    more of the processor. Processes started later have the usual slice. Needs Linux 6.12.
    """
    if _SET_ATTR is None:
        return False
    libc = ctypes.CDLL(None, use_errno=True)
    attributes = _Attributes(size=ctypes.sizeof(_Attributes))
    if libc.syscall(_GET_ATTR, 0, ctypes.byref(attributes), attributes.size, 0) != 0:
        return False
    attributes.flags = _RESET_ON_FORK
    attributes.runtime = round(seconds * 1e9)  # the policy and the niceness stay
    return libc.syscall(_SET_ATTR, 0, ctypes.byref(attributes), 0) == 0
