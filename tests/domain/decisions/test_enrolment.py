"""Who may speak for which router."""

from datetime import UTC, datetime, timedelta

import pytest

from celadon.domain.decisions.enrolment import (
    CertifiedPeer,
    Enrolment,
    Peer,
    SocketPeer,
    check_identity,
    check_node,
    check_trust_domain,
    gateway_identity,
    refusal_of,
    router_identity,
)
from celadon.domain.language.names import RouterNode

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
EDGE = RouterNode("edge-1")
IDENTITY = router_identity("celadon", EDGE)
ISSUED = Enrolment(node=EDGE, identity=IDENTITY, serials=("b", "a"))
OF_OTHERS = Enrolment(node=EDGE, identity="edge-1.example.com")
ON_SOCKET = Enrolment(node=EDGE, identity=None)


def certified(*names: str, serial: str = "a", left: timedelta = timedelta(days=1)) -> CertifiedPeer:
    return CertifiedPeer(frozenset(names), serial, NOW + left)


@pytest.mark.parametrize(
    ("peer", "enrolment"),
    [
        (SocketPeer(), ON_SOCKET),
        (SocketPeer(), ISSUED),
        (certified(IDENTITY), ISSUED),
        (certified(IDENTITY, "another.name", serial="b"), ISSUED),
        (certified("edge-1.example.com", serial="of any number"), OF_OTHERS),
    ],
)
def test_an_enrolled_router_may_speak(peer: Peer, enrolment: Enrolment) -> None:
    assert refusal_of(EDGE, peer, enrolment, NOW) is None


@pytest.mark.parametrize(
    ("peer", "enrolment", "why"),
    [
        (SocketPeer(), None, "no router edge-1 is enrolled"),
        (certified(IDENTITY), None, "no router edge-1 is enrolled"),
        (SocketPeer(), ON_SOCKET.model_copy(update={"node": RouterNode("edge-2")}), "no router edge-1 is enrolled"),
        (certified(IDENTITY), ON_SOCKET, "for a Unix socket, not with a certificate"),
        (certified(router_identity("celadon", "edge-2")), ISSUED, "does not name router edge-1"),
        (certified(router_identity("elsewhere", EDGE)), ISSUED, "does not name router edge-1"),
        (certified(), ISSUED, "does not name router edge-1"),
        (certified(IDENTITY), OF_OTHERS, "does not name router edge-1"),
        (certified(IDENTITY, serial="c"), ISSUED, "was replaced or revoked"),
        (certified(IDENTITY, left=timedelta(0)), ISSUED, "expired at 2026-03-01 12:00:00"),
    ],
)
def test_nobody_else_may(peer: Peer, enrolment: Enrolment | None, why: str) -> None:
    refused = refusal_of(EDGE, peer, enrolment, NOW)

    assert refused is not None
    assert why in refused


@pytest.mark.parametrize("value", ["edge-1", "Edge_1.example", "7", "a" * 100])
def test_what_can_name_a_router(value: str) -> None:
    assert check_node(value) == value


@pytest.mark.parametrize("value", ["", " ", ".", "..", "../x", "a/b", "-a", "a b", "a\n", "é", "a" * 101])
def test_what_cannot_name_a_router(value: str) -> None:
    with pytest.raises(ValueError, match="cannot name a router"):
        check_node(value)


@pytest.mark.parametrize("value", ["spiffe://corp/ns/x/sa/router-1", "edge-1.example.com", "edge", IDENTITY])
def test_what_a_certificate_can_bear(value: str) -> None:
    assert check_identity(value) == value


@pytest.mark.parametrize("value", ["", "spiffe://corp", "https://corp/router", "Edge.io", "a..b", "a b", "*.x.com"])
def test_what_no_certificate_bears(value: str) -> None:
    with pytest.raises(ValueError, match="is not an identity"):
        check_identity(value)


@pytest.mark.parametrize("value", ["", "Corp", "a/b", "a b"])
def test_what_is_no_trust_domain(value: str) -> None:
    with pytest.raises(ValueError, match="is not a trust domain"):
        check_trust_domain(value)


def test_identities_made_by_celadon_can_be_borne() -> None:
    for identity in (IDENTITY, gateway_identity("celadon")):
        assert check_identity(identity) == identity
