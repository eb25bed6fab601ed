"""The settings of provisioners, read from the environment."""

from pathlib import Path
from typing import Annotated

from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from celadon.domain.reachable import Networks


class LocalSettings(BaseSettings):
    """Where the provisioner ``local`` keeps its files: ``CELADON_STATE_DIR`` and ``CELADON_SECRETS_DIR``."""

    model_config = SettingsConfigDict(env_prefix="CELADON_", extra="ignore", frozen=True)

    state_dir: Path
    """Claims and output of replicas; readable by the owner only."""
    secrets_dir: Path | None = None
    """One file a secret, named as revisions name it; without it no revision can use a secret."""


class ReachSettings(BaseSettings):
    """Which metadata addresses may be reached all the same: ``CELADON_ALLOWED_METADATA_NETWORKS``."""

    model_config = SettingsConfigDict(env_prefix="CELADON_", extra="ignore", frozen=True)

    allowed_metadata_networks: Annotated[Networks, NoDecode] = ()
    """Networks such as ``169.254.7.0/24``, separated by commas."""
