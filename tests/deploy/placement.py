"""This machine in the place of containers: every declared address, path and program has its counterpart here."""

import os
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from celadon.stack.ports import choose_ports

_ADDRESS = re.compile(r"(?P<host>[a-z0-9.-]+):(?P<port>[0-9]+)")
_OWN_HOSTS = frozenset({"0.0.0.0", "127.0.0.1", "localhost"})  # noqa: S104 - what files in deploy/ say


class Placement:
    """Gives each container a loopback port for each of its ports, and a directory for each of its paths."""

    def __init__(self, directory: Path, database_url: str, paths: Mapping[str, Path]) -> None:
        """Place containers in ``directory``; ``paths`` are what containers share, by its path in them."""
        self.directory = directory
        self.database_url = database_url
        self._paths = paths
        self._ports: dict[tuple[str, int], int] = {}

    def port(self, container: str, port: int) -> int:
        """Return the port of this machine at which a container's port is."""
        if (container, port) not in self._ports:
            taken = {str(number): number for number in self._ports.values()}
            self._ports[container, port] = choose_ports(("new",), taken)["new"]
        return self._ports[container, port]

    def is_at(self, container: str, port: int, address: str) -> None:
        """Take note of what listens already in the place of a container's port."""
        self._ports[container, port] = int(address.rpartition(":")[2])

    def home(self, container: str) -> Path:
        """Return the directory that a container has for what it keeps."""
        home = self.directory / container
        home.mkdir(mode=0o700, exist_ok=True)
        return home

    def text(self, container: str, text: str) -> str:
        """Return a value of an argument or a variable as it must be here."""
        if text.startswith("postgresql+asyncpg://"):
            return self.database_url
        for path, here in {"/var/lib/celadon": self.home(container), **self._paths}.items():
            text = text.replace(path, str(here))
        text = re.sub(r"^(--(?:ui-)?port)=([0-9]+)$", lambda m: f"{m[1]}={self.port(container, int(m[2]))}", text)
        text = re.sub(r"^(--(?:ui-)?ip)=0\.0\.0\.0$", r"\1=127.0.0.1", text)
        return _ADDRESS.sub(lambda found: self._address(container, found["host"], int(found["port"])), text)

    def command(self, container: str, command: Sequence[str]) -> list[str]:
        """Return a command whose program is the one of this environment."""
        program, *arguments = command
        here = Path(sys.executable).parent / Path(program).name
        assert here.exists(), f"{program} is not installed with Celadon"
        return [str(here), *(self.text(container, argument) for argument in arguments)]

    def environment(self, container: str, *declared: Mapping[str, str]) -> dict[str, str]:
        """Return the declared variables, later ones over earlier ones, and nothing of this process's but the least."""
        merged = {name: value for variables in declared for name, value in variables.items()}
        placed = {name: self.text(container, value) for name, value in merged.items() if name != "PATH"}
        path = os.pathsep.join([str(Path(sys.executable).parent), "/usr/bin", "/bin"])
        return placed | {"PATH": path, "HOME": str(self.home(container))}

    def _address(self, container: str, host: str, port: int) -> str:
        """Return where a port is: a host's name is a container's, loopback and all interfaces are one's own."""
        return f"127.0.0.1:{self.port(container if host in _OWN_HOSTS else host, port)}"
