"""What stays the same when a stack is started again in its directory."""

import secrets
from collections.abc import Iterator, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Final, Self, Unpack

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from celadon.domain.language.error_words import problems_of
from celadon.owned_files import NotOursError, read_file, write_file
from celadon.stack.errors import StackError
from celadon.stack.ports import address, choose_ports, hidden_loopback
from celadon.stack.process_counts import ProcessCountChoice, ProcessCounts, numbered


class Port(StrEnum):
    """What has a port of its own."""

    TEMPORAL = "temporal"
    TEMPORAL_UI = "temporal_ui"
    GATEWAY_METRICS = "gateway_metrics"
    ROUTER = "router"
    PREVIEW_ROUTER = "preview_router"
    METRICS = "metrics"
    API = "api"


_OF_EACH_WORKER: Final = (Port.METRICS,)
_OF_EACH_GATEWAY: Final = (Port.GATEWAY_METRICS,)
_OF_EACH_ROUTER: Final = (Port.ROUTER, Port.PREVIEW_ROUTER)


class StackSettings(BaseModel):
    """The shape of a stack, its ports and the key to its previews."""

    model_config = ConfigDict(frozen=True)

    shape: ProcessCounts = ProcessCounts()
    ports: Mapping[str, int] = Field(default_factory=dict)
    preview_key: str = Field(default_factory=lambda: secrets.token_urlsafe(24))
    temporal_ui_host: str = Field(default_factory=hidden_loopback)
    """Where Temporal's UI listens, which checks no ``Host`` and knows no login."""

    @property
    def temporal_ui(self) -> str:
        """The URL of Temporal's UI."""
        return f"http://{address(self.port(Port.TEMPORAL_UI), self.temporal_ui_host)}"

    def port(self, kind: Port, number: int = 1) -> int:
        """Return the port of the ``number``-th process of a kind, from 1."""
        return self.ports[numbered(kind, number)]

    @property
    def own_ports(self) -> str:
        """All ports of the stack as ``CELADON_OWN_PORTS`` has them: no replica may be at one."""
        return ",".join(map(str, sorted(set(self.ports.values()))))

    @classmethod
    def load(cls, file: Path, **choice: Unpack[ProcessCountChoice]) -> Self:
        """Read the settings of the last start, or make new ones; replace the ports that are no longer free.

        What is not chosen of the shape is as it was at the last start.

        Raises:
            StackError: the file holds something else, or no port is free.

        """
        try:
            last = cls.model_validate_json(read_file(file, private=True))
        except FileNotFoundError:
            last = cls()
        except NotOursError as error:
            raise StackError(f"the settings of the last start are not believed: {error}") from error
        except ValidationError as error:
            raise StackError(
                f"{file} cannot be read ({problems_of(error)}): remove it to get new ports and a new key"
            ) from error
        wanted = last.shape.changed(**choice)
        settings = last.model_copy(
            update={"shape": wanted, "ports": choose_ports(_port_names(wanted), last.ports)},
        )
        write_file(file, settings.model_dump_json(indent=2) + "\n", mode=0o600)
        return settings


def _port_names(shape: ProcessCounts) -> Iterator[str]:
    """Name every port; those of one router are there even where there is none, so that its address is known."""
    yield from Port
    for kinds, how_many in (
        (_OF_EACH_WORKER, shape.workers),
        (_OF_EACH_GATEWAY, shape.gateways),
        (_OF_EACH_ROUTER, shape.routers),
    ):
        yield from (numbered(kind, number) for number in range(2, how_many + 1) for kind in kinds)
