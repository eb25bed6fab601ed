"""Where a token may travel."""

import pytest

from celadon.cli.api_address import check_url
from celadon.cli.faults import CommandError


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("https://celadon.example.com/", "https://celadon.example.com"),
        ("https://example.com/celadon/", "https://example.com/celadon"),
        ("http://127.0.0.1:18080", "http://127.0.0.1:18080"),
        ("http://127.8.8.8", "http://127.8.8.8"),
        ("http://[::1]:18080", "http://[::1]:18080"),
        ("http://localhost:18080", "http://localhost:18080"),
    ],
)
def test_what_keeps_a_token_secret_is_let_through(given: str, url: str) -> None:
    assert check_url(given, allow_http=False) == url


@pytest.mark.parametrize(
    "given", ["http://celadon.example.com", "http://10.0.0.1", "http://localhost.example.com", "http://0.0.0.0"]
)
def test_what_others_could_read_is_refused_unless_it_is_allowed(given: str) -> None:
    with pytest.raises(CommandError, match="in the clear"):
        check_url(given, allow_http=False)

    assert check_url(given, allow_http=True) == given


@pytest.mark.parametrize(
    "given",
    [
        "",
        "celadon.example.com",
        "ftp://a",
        "https://",
        "https://a:b@c",
        "https://a?b=c",
        "https://a:port",
        "https://[a",
    ],
)
def test_what_is_no_address_is_refused(given: str) -> None:
    with pytest.raises(CommandError, match="write https://HOST"):
        check_url(given, allow_http=True)
