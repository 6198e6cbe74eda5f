"""What the C library does with memory that torch gives back: keep it.

By default glibc returns every block of more than a few hundred kilobytes to the system as soon as it is freed, so each
activation of each step is mapped and cleared anew, page by page. With the blocks kept, a step of the lab's base takes a
quarter less time and one of DeepSeek-GRM's a seventh (docs/log.md). No number changes.

Left out: other C libraries (nothing is done there), memory of a GPU (torch keeps that itself).

    keep()      # once per process, before the work
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
