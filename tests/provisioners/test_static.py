"""The provisioner ``static``."""

from ipaddress import ip_network

from celadon.domain.decisions.reachable import Reach
from celadon.domain.language.names import RouteId
from celadon.domain.language.revision import Provisioner, Revision
from celadon.provisioners.protocol import Address, Ended, Place, Replica, Running
from celadon.provisioners.static import StaticProvisioner

REVISION = Revision(provisioner=Provisioner.STATIC, endpoints=("10.0.0.1:8000", "[::1]:8001"))


def test_replicas_get_the_endpoints_in_their_order() -> None:
    static = StaticProvisioner()
    first = static.choose_place(REVISION, frozenset(), frozenset())
    assert first == Place("10.0.0.1", {"http": 8000})
    assert static.choose_place(REVISION, first.addresses, frozenset()) == Place("::1", {"http": 8001})


def test_there_is_no_address_beyond_the_endpoints() -> None:
    used = frozenset({Address("10.0.0.1", 8000), Address("::1", 8001)})
    assert StaticProvisioner().choose_place(REVISION, used, used) is None


def test_another_set_may_use_the_same_endpoint() -> None:
    in_use = frozenset({Address("10.0.0.1", 8000)})
    assert StaticProvisioner().choose_place(REVISION, frozenset(), in_use) == Place("10.0.0.1", {"http": 8000})


async def test_a_metadata_address_is_no_replica_unless_it_is_allowed() -> None:
    revision = Revision(provisioner=Provisioner.STATIC, endpoints=("169.254.169.254:80",))
    replica = Replica(RouteId("one"), Place("169.254.169.254", {"http": 80}), revision)
    seen = await StaticProvisioner().look(replica)
    assert isinstance(seen, Ended)
    assert seen.failed
    assert "metadata" in seen.error
    allowed = StaticProvisioner(Reach(allowed_metadata=(ip_network("169.254.0.0/16"),)))
    assert await allowed.look(replica) == Running()


SEVERAL = Revision.model_validate(
    {
        "provisioner": "static",
        "ports": {"http": "http1", "grpc": "h2c"},
        "endpoints": [
            {"host": "10.0.0.1", "ports": {"http": 8000, "grpc": 8001}},
            {"host": "10.0.0.1", "ports": {"http": 8002, "grpc": 80}},
        ],
    },
    strict=False,
)


def test_an_endpoint_has_all_ports_of_its_replica() -> None:
    static = StaticProvisioner()
    first = static.choose_place(SEVERAL, frozenset(), frozenset())
    assert first == Place("10.0.0.1", {"http": 8000, "grpc": 8001})
    assert static.choose_place(SEVERAL, first.addresses, frozenset()) == Place("10.0.0.1", {"http": 8002, "grpc": 80})


async def test_an_endpoint_is_refused_for_any_of_its_ports() -> None:
    static = StaticProvisioner(Reach(own_ports=frozenset({8001})))
    revision = SEVERAL.model_copy(update={"endpoints": ("127.0.0.1:8001",)})
    replica = Replica(RouteId("one"), Place("127.0.0.1", {"http": 8000, "grpc": 8001}), revision)
    seen = await static.look(replica)
    assert isinstance(seen, Ended)
    assert "port 8001" in seen.error
