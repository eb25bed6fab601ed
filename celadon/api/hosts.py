"""Host names, as requests give them."""

from ipaddress import ip_address


def host_name(host: str) -> str:
    """Return the name in a ``Host`` header, without its port, in lower case."""
    name = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
    return name.lower().removesuffix(".")


def is_loopback(name: str) -> bool:
    """Whether a host name or address means this machine, whoever resolves it (RFC 6761)."""
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return name == "localhost" or name.endswith(".localhost")
