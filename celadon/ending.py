"""How a command ends: with one of three exit codes, and never with another one by accident."""

import logging
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from enum import IntEnum
from typing import Final, NoReturn, TextIO

from celadon.extras import explain_missing_module
from celadon.standard_streams import lead_nowhere, print_bug, print_ending


class ExitCode(IntEnum):
    """What a command tells the shell."""

    DONE = 0
    FAILED = 1
    """Refused or failed; standard error says why and what to do next."""
    USAGE = 2
    """The command line itself is wrong; nothing was asked of anybody."""


TEMPORAL_SDK: Final = "temporalio.bridge.temporal_sdk_bridge"
"""The module that starts threads of its own."""


def run_to_exit(program: Callable[[], object]) -> NoReturn:
    """Run ``program`` and end the process with the exit code that it asked for.

    The threads of Temporal's SDK can crash the interpreter while it exits, long after all work is done; the shell then
    sees 134 or 139 for a promotion that went well. A process that has loaded the SDK therefore ends without that exit.
    """
    code = _exit_code_of(program)
    for stream in (sys.stdout, sys.stderr):
        code = _flush(stream) or code
    if TEMPORAL_SDK not in sys.modules:
        sys.exit(code)
    logging.shutdown()
    os._exit(code)


def _exit_code_of(program: Callable[[], object]) -> int:
    try:
        program()
    except SystemExit as ending:
        if ending.code is None or isinstance(ending.code, int):
            return ending.code or ExitCode.DONE
        print_ending(str(ending.code))
        return ExitCode.FAILED
    except BrokenPipeError:
        return ExitCode.FAILED
    except ModuleNotFoundError as error:
        sentence = explain_missing_module(error)
        if sentence is None:
            print_bug(error)
        else:
            print_ending(f"Error: {sentence}")
        return ExitCode.FAILED
    except Exception as error:  # noqa: BLE001 - a bug is shown whole, and the exit code is right all the same
        with suppress(OSError):
            print_bug(error)
        return ExitCode.FAILED
    return ExitCode.DONE


def _flush(stream: TextIO) -> int:
    """Write what is still to be written; whoever read it may have gone (``celadon deployment list | head -1``)."""
    try:
        stream.flush()
    except OSError:
        # What is left goes nowhere, or the interpreter would complain of it at its exit.
        lead_nowhere(stream)
        return ExitCode.FAILED
    return ExitCode.DONE
