"""Every variable that deploy/ names is read by somebody, and every one that is read is told in deploy/README.md."""

import importlib
import pkgutil
import re
from collections.abc import Iterator

import pytest
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings
from temporalio.envconfig import ClientConfig

import celadon
import worker
from celadon.cli.target import DATA_DIR_VARIABLE
from celadon.stack.account import POSTGRES_USER_VARIABLE
from tests.deploy.files import (
    DEPLOY,
    all_files,
    read_environment_file,
    read_image,
    read_services,
    read_unit,
    unit_files,
)

_NAME = re.compile(r"\b(?:DATABASE_URL|(?:CELADON|TEMPORAL)_[A-Z]+(?:_[A-Z]+)*)\b")

OF_TEMPORAL = {
    "TEMPORAL_ADDRESS": "localhost:7233",
    "TEMPORAL_NAMESPACE": "default",
    "TEMPORAL_API_KEY": "key",
}
"""Variables of Temporal's SDK that change what it connects to, with a value that does."""


def _variables(settings: type[BaseSettings]) -> Iterator[str]:
    prefix = settings.model_config.get("env_prefix", "")
    for name, field in settings.model_fields.items():
        yield _alias(field) or f"{prefix}{name}".upper()


def _kinds_of(settings: type[BaseSettings]) -> Iterator[type[BaseSettings]]:
    for one in settings.__subclasses__():
        yield one
        yield from _kinds_of(one)


def _alias(field: FieldInfo) -> str | None:
    return field.validation_alias if isinstance(field.validation_alias, str) else None


def read_by_celadon() -> set[str]:
    """Return the variables of all settings that any module has, and of the command line."""
    for package in (celadon, worker):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not module.name.endswith("__main__") and ".migrations" not in module.name:
                importlib.import_module(module.name)
    ours = [one for one in _kinds_of(BaseSettings) if one.__module__.startswith(("celadon.", "worker."))]
    assert ours
    return {name for one in ours for name in _variables(one)} | {DATA_DIR_VARIABLE, POSTGRES_USER_VARIABLE}


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
