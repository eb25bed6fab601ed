"""``python -m worker``: configured by the environment, stopped by SIGTERM or SIGINT.

Promotions wait while a killed worker starts anew, so it loads what its work needs, and nothing else.
"""

# ruff: noqa: PLC0415 - what is loaded when is the subject

import asyncio
import gc
import logging
import sys

from celadon.ending import ExitCode, run_to_exit


def _run() -> None:
    # Some thousand modules leave no garbage: collections while they load take a quarter of the start, and later ones
    # need not look through them again.
    gc.disable()
    from celadon.logs import log_to_stderr
    from worker.process import run_worker
    from worker.settings import WorkerSettings

    gc.freeze()
    gc.enable()
    log_to_stderr(logging.INFO)
    try:
        settings = WorkerSettings()
        asyncio.run(run_worker(settings))
    except Exception as error:
        from celadon.foreseen import explain
        from celadon.standard_streams import print_ending

        sentence = explain(error)
        if sentence is None:
            raise
        print_ending(sentence)
        sys.exit(ExitCode.FAILED)


if __name__ == "__main__":
    run_to_exit(_run)
