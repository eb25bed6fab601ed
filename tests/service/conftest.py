"""Every door of one running Celadon, on the same table."""

from pathlib import Path

import pytest
from temporalio.testing import WorkflowEnvironment

from tests.api.conftest import CLAIMABLE, ApiClient, api, keys, rows
from tests.cli.access.conftest import Ways, ways
from tests.cli.conftest import Command, _no_celadon_of_the_operator, command
from tests.service.doors import Doors

__all__ = ["_no_celadon_of_the_operator", "api", "command", "keys", "rows", "ways"]


@pytest.fixture
def doors(
    api: ApiClient,
    command: Command,
    ways: Ways,
    temporal_env: WorkflowEnvironment,
    keys: Path,
) -> Doors:
    """Return every door of the Celadon of a test; its command line can sign."""
    ways.monkeypatch.setenv("CELADON_SIGNING_KEY_FILE", str(keys / "key.pem"))
    ways.monkeypatch.setenv("CELADON_HOSTS", CLAIMABLE)
    return Doors(api, command, ways, temporal_env.client)
