"""The provisioner ``static``."""

from ipaddress import ip_network

from celadon.domain.decisions.reachable import Reach
from celadon.domain.language.names import RouteId
from celadon.domain.language.revision import Provisioner, Revision
from celadon.provisioners.protocol import Address, Ended, Replica, Running
from celadon.provisioners.static import StaticProvisioner

REVISION = Revision(provisioner=Provisioner.STATIC, endpoints=("10.0.0.1:8000", "[::1]:8001"))


def test_replicas_get_the_endpoints_in_their_order() -> None:
    static = StaticProvisioner()
    first = static.choose_address(REVISION, frozenset(), frozenset())
    assert first == Address("10.0.0.1", 8000)
    assert static.choose_address(REVISION, frozenset({first}), frozenset()) == Address("::1", 8001)


def test_there_is_no_address_beyond_the_endpoints() -> None:
    used = frozenset({Address("10.0.0.1", 8000), Address("::1", 8001)})
    assert StaticProvisioner().choose_address(REVISION, used, used) is None


def test_another_set_may_use_the_same_endpoint() -> None:
    in_use = frozenset({Address("10.0.0.1", 8000)})
    assert StaticProvisioner().choose_address(REVISION, frozenset(), in_use) == Address("10.0.0.1", 8000)


async def test_a_metadata_address_is_no_replica_unless_it_is_allowed() -> None:
    revision = Revision(provisioner=Provisioner.STATIC, endpoints=("169.254.169.254:80",))
    replica = Replica(RouteId("one"), Address("169.254.169.254", 80), revision)
    seen = await StaticProvisioner().look(replica)
    assert isinstance(seen, Ended)
    assert seen.failed
    assert "metadata" in seen.error
    allowed = StaticProvisioner(Reach(allowed_metadata=(ip_network("169.254.0.0/16"),)))
    assert await allowed.look(replica) == Running()
