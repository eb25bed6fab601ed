"""The table of addresses in docs/security.md, and the sockets that processes of this machine listen on."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import Final

REPOSITORY: Final = Path(__file__).parents[2]
PAGE: Final = REPOSITORY / "docs" / "security.md"

_HEADINGS: Final = ("part", "where", "listens on", "who may use it", "how that is enforced", "tested by")
_LISTENING: Final = "0A"
"""The state of a TCP socket that listens (``TCP_LISTEN`` of Linux, in hexadecimal)."""
_UNCONNECTED: Final = "07"
"""The state of a UDP socket that takes datagrams of anybody."""
_ACCEPTS_CONNECTIONS: Final = 0x10000
"""The flag of a Unix socket that listens (``__SO_ACCEPTCON`` of Linux)."""
_DATAGRAM: Final = "0002"
_NOT_A_TEST: Final = "-"


@dataclass(frozen=True)
class Row:
    """A row of the table."""

    part: str
    """Whose process listens: the name of a stack's child without its number, of a service, or of a unit."""
    where: str
    """``stack``, ``compose`` or ``systemd``."""
    listens_on: str
    """A kind and an address; ``{NAME}`` is the port of that name in the stack's settings, ``*`` stands for anything."""
    tested_by: tuple[str, ...]

    def names(self, listening: str, ports: Mapping[str, int] | None = None, suffix: str = "") -> bool:
        """Whether the row is about this socket; ``suffix`` is the number of a child of which there are several."""
        known = {} if ports is None else ports

        def port(found: re.Match[str]) -> str:
            return str(known.get(found["name"] + suffix, "none"))

        return fnmatchcase(listening, re.sub(r"\{(?P<name>\w+)\}", port, self.listens_on))


def read_rows() -> tuple[Row, ...]:
    """Return the rows under "Addresses"; fail where the table is none."""
    section = PAGE.read_text(encoding="utf-8").partition("\n## Addresses\n")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert cells, "the page has no table of addresses"
    assert tuple(cells[0]) == _HEADINGS
    rows = []
    for row in cells[2:]:
        assert len(row) == len(_HEADINGS), row
        assert all(row), f"a cell of {row} is empty"
        part, where, listens_on, _, _, tests = row
        named = tuple(re.findall(r"`([^`]+)`", tests))
        assert named or tests == _NOT_A_TEST, f"{tests!r} names no test"
        rows.append(Row(part, where, listens_on.strip("`"), named))
    return tuple(rows)


def sockets_of(pid: int) -> set[str]:
    """Return what a process of this machine listens on, as the table writes it; a process that has ended, nothing."""
    proc = Path(f"/proc/{pid}")
    try:
        inodes = _inodes(proc)
        return {
            *(f"tcp {at}" for table in ("tcp", "tcp6") for at in _internet(proc / "net" / table, _LISTENING, inodes)),
            *(f"udp {at}" for table in ("udp", "udp6") for at in _internet(proc / "net" / table, _UNCONNECTED, inodes)),
            *_unix(proc / "net" / "unix", inodes),
        }
    except (FileNotFoundError, ProcessLookupError):
        return set()


def _inodes(proc: Path) -> set[str]:
    found = set()
    for descriptor in (proc / "fd").iterdir():
        try:
            target = descriptor.readlink()
        except FileNotFoundError:
            continue
        if socket := re.fullmatch(r"socket:\[(\d+)\]", str(target)):
            found.add(socket[1])
    return found


def _internet(table: Path, state: str, inodes: set[str]) -> set[str]:
    found = set()
    for line in table.read_text(encoding="ascii").splitlines()[1:]:
        _, local, _, its_state, *rest = line.split()
        if its_state == state and rest[5] in inodes:
            address, _, port = local.partition(":")
            host = _host(address)
            shown = f"[{host}]" if host.version == 6 else str(host)
            found.add(f"{shown}:{int(port, 16)}")
    return found


def _host(hexadecimal: str) -> IPv4Address | IPv6Address:
    """Read an address as the kernel prints it: words of 32 bits in the order of this machine."""
    words = [bytes.fromhex(hexadecimal[at : at + 8])[::-1] for at in range(0, len(hexadecimal), 8)]
    host = ip_address(b"".join(words))
    return host.ipv4_mapped or host if isinstance(host, IPv6Address) else host


def _unix(table: Path, inodes: set[str]) -> set[str]:
    found = set()
    for line in table.read_text(encoding="utf-8", errors="replace").splitlines()[1:]:
        _, _, _, flags, kind, _, inode, *path = line.split(maxsplit=7)
        if path and inode in inodes and (kind == _DATAGRAM or int(flags, 16) & _ACCEPTS_CONNECTIONS):
            # The kernel shows an abstract name with "@" for its leading zero.
            found.add(f"abstract {path[0][1:]}" if path[0].startswith("@") else f"unix {path[0]}")
    return found
