"""A Temporal server whose workflows' time can be skipped."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.testing import TimeSkippingConfig, WorkflowEnvironment

from celadon.domain.language.contracts import SEARCH_ATTRIBUTES
from celadon.stack.ports import choose_ports
from celadon.stack.programs import temporal_program
from celadon.stack.temporal_server import CLOSED_DOORS, MOST_BUFFERED_EVENTS


@asynccontextmanager
async def time_skipping_temporal(*settings: str) -> AsyncIterator[WorkflowEnvironment]:
    """Run a Temporal server on which a workflow's time stands still until it is moved, with more ``settings``."""
    flags = [
        *("--dynamic-config-value", "frontend.WorkflowTimeSkippingEnabled=true"),
        *("--dynamic-config-value", 'history.timerProcessorMaxTimeShift="20ms"'),
    ]
    # Payloads stay as long as the server lets them be by default: what Celadon itself refuses is to be seen here.
    flags += ["--dynamic-config-value", f"history.maximumBufferedEventsBatch={MOST_BUFFERED_EVENTS}"]
    for setting in (*CLOSED_DOORS, *settings):
        flags += ["--dynamic-config-value", setting]
    for name in SEARCH_ATTRIBUTES:
        flags += ["--search-attribute", f"{name}=Keyword"]
    async with await WorkflowEnvironment.start_time_skipping_v2(
        port=choose_ports(("temporal",), {})["temporal"],
        ts_config=TimeSkippingConfig(enabled=False),
        data_converter=pydantic_data_converter,
        dev_server_existing_path=str(temporal_program()),
        dev_server_startup_timeout=timedelta(seconds=90),
        dev_server_extra_args=flags,
    ) as environment:
        yield environment
