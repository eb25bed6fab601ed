"""Which host names deployments may claim here, read from the environment by every process that carries claims out."""

from typing import Annotated

from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from celadon.domain.decisions.hosts import ClaimableHosts, ListedHosts
from celadon.domain.language.domains import LOCAL_DOMAINS, Domains


class HostSettings(BaseSettings):
    """``CELADON_HOSTS``, and ``CELADON_DOMAINS`` as the gateways have it."""

    model_config = SettingsConfigDict(env_prefix="CELADON_", extra="ignore", frozen=True)

    hosts: Annotated[ListedHosts, NoDecode] = ()
    """Host names that deployments may claim as their own, separated by commas: ``llm.example.com``, or
    ``*.example.com`` for every name below; none when not set."""
    domains: Annotated[Domains, NoDecode] = LOCAL_DOMAINS
    """The same as of the gateways: ``NAME.DOMAIN`` belongs to the deployment of that name, and none may claim it."""

    @property
    def claimable(self) -> ClaimableHosts:
        """What deployments may claim."""
        return ClaimableHosts(listed=self.hosts, domains=self.domains)
