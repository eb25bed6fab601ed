"""What the delivery of notifications is told by its environment."""

from datetime import timedelta
from pathlib import Path

from pydantic import ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from celadon.domain.language.durations import Duration


class NotificationSettings(BaseSettings):
    """``CELADON_*`` as far as notifications read it."""

    model_config = SettingsConfigDict(env_prefix="CELADON_", extra="ignore", frozen=True)

    secrets_dir: Path | None = None
    """The secrets of replicas, which must lie elsewhere."""
    service_secrets_dir: Path | None = None
    """One file a secret of Celadon's own: signing keys, and URLs that are secret."""
    console_url: str = ""
    """Where people reach the console; notifications link to its pages."""
    temporal_ui_url: str = ""
    """Where people reach Temporal's UI."""
    event_source: str = "/celadon"
    """Names this Celadon among others in CloudEvents, a URI reference."""
    notify_timeout: Duration = timedelta(seconds=10)
    """How long one attempt may take, from the connection to the end of the answer."""
    notify_first_retry: Duration = timedelta(seconds=2)
    notify_longest_retry: Duration = timedelta(hours=1)
    notify_give_up_after: Duration = timedelta(days=3)
    """How long a target that does not take a notification is tried."""

    @field_validator("service_secrets_dir")
    @classmethod
    def _lies_apart(cls, value: Path | None, info: ValidationInfo) -> Path | None:
        of_replicas = info.data.get("secrets_dir")
        if value is None or of_replicas is None:
            return value
        own, other = value.resolve(), Path(of_replicas).resolve()
        if own.is_relative_to(other) or other.is_relative_to(own):
            raise ValueError(
                "whoever may start a rollout could have a replica print what lies there: name a directory apart from "
                "CELADON_SECRETS_DIR",
            )
        return value
