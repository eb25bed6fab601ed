"""Provisioners with a state directory of their own, which leave no process behind."""

import uuid
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import pytest_asyncio

from celadon.domain.language.names import RouteId
from celadon.domain.language.revision import Revision
from celadon.provisioners.local import LocalProvisioner
from celadon.provisioners.protocol import Replica
from celadon.provisioners.settings import LocalSettings

MakeReplica = Callable[..., Replica]


@pytest.fixture
def secrets_dir(tmp_path: Path) -> Path:
    directory = tmp_path / "secrets"
    directory.mkdir()
    return directory


@pytest.fixture
def settings(tmp_path: Path, secrets_dir: Path) -> LocalSettings:
    return LocalSettings(state_dir=tmp_path / "state", secrets_dir=secrets_dir)


@pytest_asyncio.fixture(loop_scope="session")
async def local(settings: LocalSettings) -> AsyncIterator[LocalProvisioner]:
    """Return a provisioner whose replicas end with the test."""
    provisioner = LocalProvisioner(settings)
    yield provisioner
    for route in await provisioner.remembered():
        await provisioner.end_stray(route)


@pytest.fixture
def make_replica(local: LocalProvisioner) -> MakeReplica:
    """Return a function from a revision's fields to a replica with an address."""

    def make(command: tuple[str, ...], **fields: object) -> Replica:
        revision = Revision.model_validate({"command": command, "termination_grace": "5s", **fields}, strict=False)
        place = local.choose_place(revision, frozenset(), frozenset())
        assert place is not None
        return Replica(RouteId(str(uuid.uuid4())), place, revision)

    return make
