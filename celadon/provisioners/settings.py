"""The settings of provisioners, read from the environment."""

from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from celadon.provisioners.replica_user import ReplicaUser


def _parse_user(value: object) -> object:
    return (ReplicaUser.named(value) if value else None) if isinstance(value, str) else value


def _parse_names(value: object) -> object:
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


class LocalSettings(BaseSettings):
    """Where the provisioner ``local`` keeps its files, and as whom and with which variables replicas run."""

    model_config = SettingsConfigDict(env_prefix="CELADON_", extra="ignore", frozen=True)

    state_dir: Path
    """Claims and output of replicas; readable by the owner only."""
    secrets_dir: Path | None = None
    """One file a secret, named as revisions name it; without it no revision can use a secret."""
    replica_user: Annotated[ReplicaUser | None, NoDecode, BeforeValidator(_parse_user)] = None
    """The user that replicas run as; the worker's own when not set."""
    replica_environment: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_parse_names)] = ()
    """Variables of the worker that replicas get beside those that programs need, separated by commas; ``NAME*``: all
    that begin so."""
