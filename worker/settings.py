"""What the worker is told by its environment."""

from datetime import timedelta
from typing import Annotated

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from celadon.domain.language.durations import Duration


class WorkerSettings(BaseSettings):
    """``DATABASE_URL`` and ``CELADON_*``; Temporal's own variables are read by its SDK."""

    model_config = SettingsConfigDict(env_prefix="CELADON_", extra="ignore")

    database_url: str = Field(validation_alias="DATABASE_URL")
    metrics_address: str = "127.0.0.1:9464"
    """host:port of the Prometheus endpoint."""
    stop_replicas_on_exit: bool = False
    """Stop the replicas of provisioner ``local`` when the worker is stopped; they start again with the next worker."""
    max_cached_workflows: Annotated[int, Field(ge=0)] = 2000
    """Waiting rollouts kept in memory (about 0.2 MB each, measured); others are replayed when news come."""
    graceful_shutdown: Duration = timedelta(seconds=20)
    """How long steps may end when the worker is stopped; keep it below the container's stop time."""
    temporal_patience: Duration = timedelta(minutes=2)
    """How long to wait for Temporal at the start."""
