"""Which variables of the environment Celadon's own processes read."""

import importlib
import pkgutil
from collections.abc import Iterator

from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings

import celadon
import worker
from celadon.cli.target import DATA_DIR_VARIABLE
from celadon.stack.os_user import POSTGRES_USER_VARIABLE


def all_settings() -> tuple[type[BaseSettings], ...]:
    """Return the settings that any module of Celadon has."""
    for package in (celadon, worker):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not module.name.endswith("__main__") and ".migrations" not in module.name:
                importlib.import_module(module.name)
    ours = tuple(one for one in _kinds_of(BaseSettings) if one.__module__.startswith(("celadon.", "worker.")))
    assert ours
    return ours


def read_by_celadon() -> set[str]:
    """Return the variables of all settings that any module has, and of the command line."""
    return {variable_of(settings, name) for settings in all_settings() for name in settings.model_fields} | {
        DATA_DIR_VARIABLE,
        POSTGRES_USER_VARIABLE,
    }


def variable_of(settings: type[BaseSettings], field: str) -> str:
    """Return the variable that gives a field its value."""
    prefix = settings.model_config.get("env_prefix", "")
    return _alias(settings.model_fields[field]) or f"{prefix}{field}".upper()


def _kinds_of(settings: type[BaseSettings]) -> Iterator[type[BaseSettings]]:
    for one in settings.__subclasses__():
        yield one
        yield from _kinds_of(one)


def _alias(field: FieldInfo) -> str | None:
    return field.validation_alias if isinstance(field.validation_alias, str) else None
