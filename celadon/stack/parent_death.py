"""Ends a child when its parent dies without a chance to end it.

Linux only. The signal comes when the *thread* that started the child ends: start children from a thread that lives as
long as the process. Elsewhere a stack ends what an earlier one left behind when it starts (``celadon.stack.orphans``).
"""

import ctypes
import os
import signal
import sys
from collections.abc import Callable
from typing import Final

_PR_SET_PDEATHSIG: Final = 1
_EXIT_ORPHANED: Final = 125
_libc: Final = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def die_with_parent(with_signal: signal.Signals) -> Callable[[], None] | None:
    """Return what the child runs between fork and exec so that it gets ``with_signal`` when its parent dies.

    Everything is looked up before the fork: other threads may hold locks of the interpreter at that moment.
    """
    if _libc is None:
        return None
    prctl, getppid, leave, parent, number = _libc.prctl, os.getppid, os._exit, os.getpid(), int(with_signal)

    def bind_to_parent() -> None:
        prctl(_PR_SET_PDEATHSIG, number, 0, 0, 0)
        if getppid() != parent:
            leave(_EXIT_ORPHANED)

    return bind_to_parent
