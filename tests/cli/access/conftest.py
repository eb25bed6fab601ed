"""The command line on a running API, and past it, on the same table."""

from dataclasses import dataclass

import pytest
from temporalio.testing import WorkflowEnvironment

from celadon.domain.language.permissions import Role
from tests.api.conftest import ApiClient, api, keys

__all__ = ["api", "keys"]


@dataclass(frozen=True)
class Ways:
    """The two ways to one Celadon; each is a set of environment variables."""

    monkeypatch: pytest.MonkeyPatch
    client: ApiClient
    temporal: str

    async def take(self, way: str) -> None:
        """Take the way ``api``, as an admin, or ``direct``."""
        if way == "api":
            await self.through_api()
        else:
            self.directly()

    def directly(self) -> None:
        """Let commands speak to Postgres and Temporal."""
        for name in ("CELADON_URL", "CELADON_TOKEN"):
            self.monkeypatch.delenv(name, raising=False)
        self.monkeypatch.setenv("DATABASE_URL", self.client.table.database_url)
        self.monkeypatch.setenv("TEMPORAL_ADDRESS", self.temporal)

    async def through_api(self, *roles: Role, **scope: str) -> None:
        """Let commands speak to the API, as somebody with these roles; as an admin when none is given."""
        self.monkeypatch.setenv("CELADON_URL", self.client.url)
        self.monkeypatch.setenv("CELADON_TOKEN", await self.client.token(*(roles or (Role.ADMIN,)), **scope))


@pytest.fixture
def ways(api: ApiClient, temporal_env: WorkflowEnvironment, monkeypatch: pytest.MonkeyPatch) -> Ways:
    """Return both ways to the Celadon of a test."""
    return Ways(monkeypatch, api, temporal_env.client.service_client.config.target_host)
