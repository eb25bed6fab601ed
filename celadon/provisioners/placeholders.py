"""What stands for a replica's address in its command and its variables."""

from celadon.provisioners.protocol import Replica


def at_place(text: str, replica: Replica) -> str:
    """Return a text with a replica's ports and host in the places of ``{port}``, ``{port.NAME}`` and ``{host}``."""
    place = replica.place
    for name, number in place.ports.items():
        text = text.replace(f"{{port.{name}}}", str(number))
    return text.replace("{port}", str(replica.address.port)).replace("{host}", place.host)
