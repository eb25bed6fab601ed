"""What stays the same when a stack is started again in its directory."""

import secrets
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from celadon.stack.errors import StackError
from celadon.stack.files import write_file
from celadon.stack.ports import choose_ports


class Port(StrEnum):
    """What has a port of its own."""

    TEMPORAL = "temporal"
    TEMPORAL_UI = "temporal_ui"
    GATEWAY = "gateway"
    GATEWAY_METRICS = "gateway_metrics"
    ROUTER = "router"
    PREVIEW_ROUTER = "preview_router"
    ROUTER_ADMIN = "router_admin"
    METRICS = "metrics"


class StackSettings(BaseModel):
    """The ports of a stack and the key to its previews."""

    model_config = ConfigDict(frozen=True)

    ports: Mapping[Port, int] = Field(default_factory=dict)
    preview_key: str = Field(default_factory=lambda: secrets.token_urlsafe(24))

    @classmethod
    def load(cls, file: Path) -> Self:
        """Read the settings of the last start, or make new ones; replace the ports that are no longer free.

        Raises:
            StackError: the file holds something else, or no port is free.

        """
        try:
            last = cls.model_validate_json(file.read_bytes())
        except FileNotFoundError:
            last = cls()
        except ValidationError as error:
            raise StackError(f"{file} cannot be read ({error}): remove it to get new ports and a new key") from error
        settings = last.model_copy(update={"ports": choose_ports(Port, last.ports)})
        write_file(file, settings.model_dump_json(indent=2) + "\n", mode=0o600)
        return settings
