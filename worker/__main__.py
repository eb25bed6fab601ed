"""``python -m worker``: configured by the environment, stopped by SIGTERM or SIGINT."""

import asyncio
import logging
import sys

from celadon.cli.ending import ExitCode, run_to_exit
from celadon.cli.faults import explain
from celadon.cli.output import print_ending
from celadon.logs import log_to_stderr
from worker.process import run_worker
from worker.settings import WorkerSettings


def _run() -> None:
    log_to_stderr(logging.INFO)
    try:
        settings = WorkerSettings()
        asyncio.run(run_worker(settings))
    except Exception as error:
        sentence = explain(error)
        if sentence is None:
            raise
        print_ending(sentence)
        sys.exit(ExitCode.FAILED)


if __name__ == "__main__":
    run_to_exit(_run)
