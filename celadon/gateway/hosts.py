"""Which host names of their own lead to which deployments, so that none is ever in a route configuration twice.

Envoy refuses a whole configuration in which a host name is twice, and with it the routes of every deployment. So this
is no question of what the table promises. A host can be claimed that the gateway's domains make an address of a
deployment's name; and a deployment can be read before it gave a host up, and another one after that has claimed it.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from celadon.domain.language.domains import deployment_of_host
from celadon.domain.language.names import DeploymentName


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A host name that does not lead to the deployment that has claimed it."""

    host: str
    claimed_by: DeploymentName
    address_of: DeploymentName
    """The deployment that it leads to, because it is made of that one's name and a domain."""


class HostClaims:
    """The host names that deployments with a route claim."""

    def __init__(self, domains: tuple[str, ...]) -> None:
        """Begin without claims; names below the ``domains`` are the addresses of deployments that have a route."""
        self._domains = domains
        self._claims: dict[DeploymentName, tuple[str, ...]] = {}
        self._owners: dict[str, DeploymentName] = {}
        """Whose each host is: of the deployment that was published with it last."""
        self._of_names: dict[DeploymentName, set[str]] = {}
        """Claimed hosts that are made of a name, by the deployment of that name, whether or not there is one."""

    def claimed_by(self, name: DeploymentName) -> tuple[str, ...] | None:
        """Return what a deployment claims; ``None`` when no route leads to it."""
        return self._claims.get(name)

    def claim(self, name: DeploymentName, hosts: tuple[str, ...] | None) -> set[DeploymentName]:
        """Put claims in place of a deployment's earlier ones, and return other deployments that this concerns.

        Args:
            name: which deployment.
            hosts: its own host names, ``None`` when no route leads to it any more.

        """
        before = self._claims.pop(name, None)
        concerned: set[DeploymentName] = set()
        if (before is None) is not (hosts is None):
            concerned |= {self._owners[host] for host in self._of_names.get(name, ())}
        for host in before or ():
            if self._owners.get(host) == name:
                self._forget(host)
        if hosts is not None:
            self._claims[name] = hosts
        for host in hosts or ():
            if host in self._owners:
                concerned.add(self._owners[host])
            self._owners[host] = name
            named = deployment_of_host(host, self._domains)
            if named is not None:
                self._of_names.setdefault(named, set()).add(host)
        return concerned - {name}

    def of(self, name: DeploymentName) -> tuple[str, ...]:
        """Return the host names of its own that lead to a deployment."""
        return tuple(
            host
            for host in self._claims.get(name, ())
            if self._owners[host] == name and deployment_of_host(host, self._domains) not in self._claims
        )

    @property
    def left_out(self) -> Mapping[str, LeftOut]:
        """Hosts that lead to the deployment of whose name they are made, instead of the one that has claimed them."""
        return {
            host: LeftOut(host=host, claimed_by=self._owners[host], address_of=named)
            for named, hosts in self._of_names.items()
            if named in self._claims
            for host in hosts
            if self._owners[host] != named
        }

    def _forget(self, host: str) -> None:
        del self._owners[host]
        named = deployment_of_host(host, self._domains)
        if named is None:
            return
        hosts = self._of_names[named]
        hosts.discard(host)
        if not hosts:
            del self._of_names[named]
