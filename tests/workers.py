"""Workers that tests run, and whose end they do not wait for without a bound."""

from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from typing import Final

from temporalio.worker import Worker

from worker.process import ends_within

ENDS_WITHIN: Final = timedelta(seconds=20)

PATIENT_TASKS: Final = timedelta(seconds=30)
"""How long a worker of tests has for a workflow task: it loses none because the machine stood still."""


def running(worker: Worker) -> AbstractAsyncContextManager[None]:
    """Run a worker around a block; when the SDK never ends it, as it may while a step is under way, go on without."""
    return ends_within(worker, ENDS_WITHIN)
