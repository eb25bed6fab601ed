"""What stands for a replica's address in its command and its variables."""

from celadon.provisioners.protocol import Address


def at_address(text: str, address: Address) -> str:
    """Return a text with the port and the host of a replica in the places of ``{port}`` and ``{host}``."""
    return text.replace("{port}", str(address.port)).replace("{host}", address.host)
