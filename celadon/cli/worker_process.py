"""``celadon worker``: this process becomes a worker."""

import os
import sys
from typing import NoReturn

from celadon.cli.faults import CommandError
from celadon.extras import Extra, need
from celadon.stack.environment import importing_this_celadon
from celadon.worker_code import WorkerCodeMissingError, code_directory, worker_command


def become_worker() -> NoReturn:
    """Run the worker's program in place of this one, so that whoever stops this process stops the worker.

    Raises:
        CommandError: its code, or what its code needs, is not installed.

    """
    need(Extra.SERVER)
    try:
        code_directory()
    except WorkerCodeMissingError as error:
        raise CommandError(str(error)) from error
    sys.stdout.flush()
    sys.stderr.flush()
    command = worker_command()
    os.execve(command[0], command, importing_this_celadon(os.environ))  # noqa: S606 - no shell is wanted
