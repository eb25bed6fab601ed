"""The gateway's settings."""

from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import ValidationError

from celadon.gateway.addresses import SocketAddress, UnixAddress
from celadon.gateway.settings import GatewaySettings

URL = "postgresql+asyncpg://celadon@localhost/celadon"


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Return the environment with a database and a place for certificates alone."""
    monkeypatch.setenv("DATABASE_URL", URL)
    monkeypatch.setenv("CELADON_GATEWAY_TLS_DIR", "/etc/celadon/gateway")
    return monkeypatch


def test_a_database_and_certificates_are_enough_and_everything_is_on_loopback(
    environment: pytest.MonkeyPatch,
) -> None:
    settings = GatewaySettings()
    assert settings.database_url == URL
    assert str(settings.gateway_address) == "127.0.0.1:18000"
    assert settings.router_address.host == "127.0.0.1"
    assert (settings.routing().preview, settings.routing().preview_key) == (None, None)
    environment.undo()


def test_addresses_and_the_key_come_from_the_environment(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("CELADON_GATEWAY_ADDRESS", "10.0.0.1:18000")
    environment.setenv("CELADON_ROUTER_ADDRESS", "[::]:80")
    environment.setenv("CELADON_PREVIEW_ROUTER_ADDRESS", "127.0.0.1:81")
    environment.setenv("CELADON_GATEWAY_METRICS_ADDRESS", "127.0.0.1:82")
    environment.setenv("CELADON_PREVIEW_KEY", "sixteen-letters!")
    environment.setenv("CELADON_STREAM_IDLE_TIMEOUT", "5m")
    environment.setenv("CELADON_DOMAINS", "Models.example.com, localhost,models.EXAMPLE.com,")
    settings = GatewaySettings()
    assert settings.gateway_address == SocketAddress(host="10.0.0.1", port=18000)
    assert settings.gateway_metrics_address == SocketAddress(host="127.0.0.1", port=82)
    routing = settings.routing()
    assert routing.live == SocketAddress(host="::", port=80)
    assert routing.preview == SocketAddress(host="127.0.0.1", port=81)
    assert (routing.preview_key, routing.stream_idle_timeout) == ("sixteen-letters!", timedelta(minutes=5))
    assert routing.domains == ("models.example.com", "localhost")


def test_the_largest_headers_come_from_the_environment(environment: pytest.MonkeyPatch) -> None:
    assert GatewaySettings().routing().max_headers_kib == 60
    environment.setenv("CELADON_MAX_HEADERS", "1MiB")
    assert GatewaySettings().routing().max_headers_kib == 1024


@pytest.mark.parametrize("given", ["1500", "16MiB", "large", "0"])
def test_headers_of_a_size_that_routers_cannot_be_told_are_refused(environment: pytest.MonkeyPatch, given: str) -> None:
    environment.setenv("CELADON_MAX_HEADERS", given)
    with pytest.raises(ValidationError, match=r"whole KiB|is no size"):
        GatewaySettings()


def test_what_routers_do_behind_a_proxy_comes_from_the_environment(environment: pytest.MonkeyPatch) -> None:
    alone = GatewaySettings().routing()
    assert (alone.trusted_hops, alone.keep_request_ids, alone.return_request_ids) == (0, False, False)
    assert not alone.accept_http_10
    environment.setenv("CELADON_TRUSTED_HOPS", "2")
    for name in ("KEEP_REQUEST_IDS", "RETURN_REQUEST_IDS", "ACCEPT_HTTP_10"):
        environment.setenv(f"CELADON_{name}", "true")
    behind = GatewaySettings().routing()
    assert (behind.trusted_hops, behind.keep_request_ids, behind.return_request_ids) == (2, True, True)
    assert behind.accept_http_10


@pytest.mark.parametrize("hops", ["-1", "11", "all"])
def test_an_impossible_number_of_proxies_is_refused(environment: pytest.MonkeyPatch, hops: str) -> None:
    environment.setenv("CELADON_TRUSTED_HOPS", hops)
    with pytest.raises(ValidationError, match="trusted_hops"):
        GatewaySettings()


def test_deployments_have_host_names_on_this_machine_unless_domains_are_named(environment: pytest.MonkeyPatch) -> None:
    assert GatewaySettings().domains == ("localhost",)
    environment.setenv("CELADON_DOMAINS", "")
    assert GatewaySettings().domains == ()


@pytest.mark.parametrize(
    "domain", ["*.example.com", ".example.com", "a..b", "-a.com", "a-.com", "a:80", "ä.de", "a" * 64]
)
def test_what_is_no_domain_is_refused(environment: pytest.MonkeyPatch, domain: str) -> None:
    environment.setenv("CELADON_DOMAINS", f"models.example.com,{domain}")
    with pytest.raises(ValidationError, match="is not a domain"):
        GatewaySettings()


@pytest.mark.parametrize("address", ["", "localhost", ":80", "127.0.0.1:", "127.0.0.1:http", "127.0.0.1:70000", "a:0"])
def test_what_is_no_address_is_refused(environment: pytest.MonkeyPatch, address: str) -> None:
    environment.setenv("CELADON_ROUTER_ADDRESS", address)
    with pytest.raises(ValidationError, match="router_address"):
        GatewaySettings()


def test_a_short_preview_key_is_refused_without_showing_it(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("CELADON_PREVIEW_KEY", "guess-me")
    with pytest.raises(ValidationError) as refused:
        GatewaySettings()
    assert "guess-me" not in str(refused.value)


@pytest.mark.parametrize("address", ["127.0.0.1:80", "[::1]:80", "gateway.example:18000"])
def test_an_address_is_written_as_it_is_read(address: str) -> None:
    assert str(SocketAddress.model_validate(address)) == address


def test_plain_tcp_is_refused_and_a_socket_needs_no_certificates(environment: pytest.MonkeyPatch) -> None:
    environment.delenv("CELADON_GATEWAY_TLS_DIR")
    with pytest.raises(ValidationError, match="plain TCP is refused"):
        GatewaySettings()

    environment.setenv("CELADON_GATEWAY_ADDRESS", "unix:/run/celadon/gateway.sock")
    assert GatewaySettings().gateway_address == UnixAddress(path=Path("/run/celadon/gateway.sock"))


@pytest.mark.parametrize("address", ["unix:", "unix:gateway.sock", f"unix:/{'x' * 107}"])
def test_what_is_no_path_of_a_socket_is_refused(environment: pytest.MonkeyPatch, address: str) -> None:
    environment.setenv("CELADON_GATEWAY_ADDRESS", address)
    with pytest.raises(ValidationError, match="gateway_address"):
        GatewaySettings()
