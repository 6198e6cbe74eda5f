"""What the C library does with memory that torch gives back: keep it.

By default glibc returns big blocks to the system as soon as they are freed, so each activation of each step is mapped
and cleared anew, page by page: a tenth of a step of the lab's base (`measure/allocator.py`). No number changes. Blocks
of up to 32 MiB are kept, and 1 GiB of what is free at the end of the heap, so from outside a process looks larger than
what it uses.

Left out: other C libraries (nothing is done there), memory of a GPU (torch keeps that itself).

    keep()      # before the work; again does no harm
"""

from __future__ import annotations

import ctypes

# Parameters of mallopt(3).
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3
_SETTINGS = {_MMAP_THRESHOLD: 32 << 20, _TRIM_THRESHOLD: 1 << 30, _TOP_PAD: 64 << 20}  # bytes; the first at its limit


def keep() -> bool:
    """Whether freed memory now stays with the process; False where there is no mallopt, or it refuses."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # musl, macOS, Windows
        return False
    return all([mallopt(parameter, value) == 1 for parameter, value in _SETTINGS.items()])
