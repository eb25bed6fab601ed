"""Where this Celadon may connect to, read from the environment by every process that connects or leads others."""

import os
from typing import Annotated, Final

from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from celadon.domain.decisions.reachable import Networks, Ports, Reach, own_ports

_TEMPORAL_ADDRESS: Final = "TEMPORAL_ADDRESS"


class ReachSettings(BaseSettings):
    """``CELADON_ALLOWED_ENDPOINTS``, ``CELADON_ALLOWED_METADATA_NETWORKS`` and ``CELADON_OWN_PORTS``."""

    model_config = SettingsConfigDict(env_prefix="CELADON_", extra="ignore", frozen=True)

    allowed_endpoints: Annotated[Networks | None, NoDecode] = None
    """The networks in which endpoints of ``static`` revisions must be, separated by commas; any when not set."""
    allowed_metadata_networks: Annotated[Networks, NoDecode] = ()
    """Networks such as ``169.254.7.0/24`` that may be connected to although they are link-local or of metadata."""
    own_ports: Annotated[Ports, NoDecode] = frozenset()
    """Loopback ports of Celadon's own parts, separated by commas, beside those that variables of addresses name."""

    @property
    def reach(self) -> Reach:
        """What may be connected to; ports of this machine that the environment gives to Celadon's parts are refused."""
        addresses = [value for name, value in os.environ.items() if _is_an_address(name)]
        return Reach(
            allowed_metadata=self.allowed_metadata_networks,
            allowed_endpoints=self.allowed_endpoints,
            own_ports=self.own_ports | own_ports(addresses),
        )


def _is_an_address(variable: str) -> bool:
    return variable == _TEMPORAL_ADDRESS or (variable.startswith("CELADON_") and variable.endswith("_ADDRESS"))
