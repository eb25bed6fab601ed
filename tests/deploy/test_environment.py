"""Every variable that deploy/ names is read by somebody, and every one that is read is told in deploy/README.md."""

import re

import pytest
from temporalio.envconfig import ClientConfig

from tests.deploy.files import (
    DEPLOY,
    all_files,
    read_environment_file,
    read_image,
    read_services,
    read_unit,
    unit_files,
)
from tests.deploy.variables import read_by_celadon

_NAME = re.compile(r"\b(?:DATABASE_URL|(?:CELADON|TEMPORAL)_[A-Z]+(?:_[A-Z0-9]+)*)\b")

OF_TEMPORAL = {
    "TEMPORAL_ADDRESS": "localhost:7233",
    "TEMPORAL_NAMESPACE": "default",
    "TEMPORAL_API_KEY": "key",
}
"""Variables of Temporal's SDK that change what it connects to, with a value that does."""


def test_every_variable_in_deploy_is_read_by_somebody() -> None:
    known = read_by_celadon() | set(OF_TEMPORAL) | {"TEMPORAL_PROFILE"}
    named = {path.name: set(_NAME.findall(path.read_text())) - known for path in all_files()}

    assert {name: variables for name, variables in named.items() if variables} == {}


def test_every_variable_that_is_read_is_told() -> None:
    told = set(_NAME.findall((DEPLOY / "README.md").read_text()))

    assert read_by_celadon() - told == set()


@pytest.mark.parametrize(("name", "value"), OF_TEMPORAL.items())
def test_temporal_reads_its_own(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for other in OF_TEMPORAL:
        monkeypatch.delenv(other, raising=False)
    before = ClientConfig.load_client_connect_config(disable_file=True)
    monkeypatch.setenv(name, value)

    assert ClientConfig.load_client_connect_config(disable_file=True) != before


def test_files_set_nothing_that_nobody_reads() -> None:
    """Also what has no prefix of ours: a misspelt prefix is found here."""
    ours = read_by_celadon() | set(OF_TEMPORAL)
    set_somewhere = {
        *read_image().environment,
        *read_environment_file(with_commented=True),
        *(name for path in unit_files() for name in read_unit(path).environment),
        *(name for service in read_services().values() if service.is_ours for name in service.environment),
    }

    assert set_somewhere - ours == {"PATH", "PYTHONUNBUFFERED"}
