"""The settings of provisioners, read from the environment."""

from pathlib import Path

from pydantic_settings import BaseSettings, SettingsConfigDict


class LocalSettings(BaseSettings):
    """Where the provisioner ``local`` keeps its files: ``CELADON_STATE_DIR`` and ``CELADON_SECRETS_DIR``."""

    model_config = SettingsConfigDict(env_prefix="CELADON_", extra="ignore", frozen=True)

    state_dir: Path
    """Claims and output of replicas; readable by the owner only."""
    secrets_dir: Path | None = None
    """One file a secret, named as revisions name it; without it no revision can use a secret."""
