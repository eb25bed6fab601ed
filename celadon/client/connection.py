"""The connection to Temporal, configured by its standard variables and profiles (``TEMPORAL_ADDRESS`` and others)."""

import asyncio
import re
import time
from datetime import timedelta
from typing import Any, Final

import structlog
from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.envconfig import ClientConfig
from temporalio.runtime import Runtime
from temporalio.service import RPCError

DEFAULT_ADDRESS: Final = "localhost:7233"

_FIRST_PAUSE: Final = 0.2
_LONGEST_PAUSE: Final = 2.0

log = structlog.get_logger()


class TemporalUnreachableError(Exception):
    """Temporal does not answer at the configured address."""


async def connect(*, patience: timedelta = timedelta(0), runtime: Runtime | None = None) -> Client:
    """Connect to Temporal.

    Args:
        patience: how long to try again; a worker often starts before the server does.
        runtime: the SDK's runtime, when metrics are wanted.

    Raises:
        TemporalUnreachableError: it did not answer in time; the text says where and what to do.

    """
    config: dict[str, Any] = dict(ClientConfig.load_client_connect_config())
    config.setdefault("target_host", DEFAULT_ADDRESS)
    deadline = time.monotonic() + patience.total_seconds()
    pause = _FIRST_PAUSE
    while True:
        try:
            return await Client.connect(**config, data_converter=pydantic_data_converter, runtime=runtime)
        except (RuntimeError, RPCError) as error:
            if time.monotonic() >= deadline:
                raise TemporalUnreachableError(
                    f"Temporal does not answer at {config['target_host']}: {_reason(error)}; start it "
                    "('celadon up' starts a whole local stack), or set TEMPORAL_ADDRESS",
                ) from error
            log.info("temporal_not_there_yet", address=config["target_host"])
        await asyncio.sleep(pause)
        pause = min(pause * 2, _LONGEST_PAUSE)


def _reason(error: BaseException) -> str:
    """Return what the operating system said, which the SDK wraps in the names of its own layers."""
    said = re.search(r'message: "([^"]+)"', str(error))
    return said[1] if said else str(error)
