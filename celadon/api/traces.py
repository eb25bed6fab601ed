"""Where an error came from, for the log: without local variables, which may hold a caller's token."""

import traceback


def trace_of(error: BaseException) -> str:
    """Return the error's trace as Python prints it."""
    return "".join(traceback.format_exception(error))
