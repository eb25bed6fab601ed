"""What a router is given when it is enrolled: a directory with its bootstrap, and a certificate if it needs one."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from celadon.domain.language.names import RouterNode
from celadon.gateway.addresses import GatewayAddress, SocketAddress
from celadon.gateway.authority import Issued
from celadon.gateway.bootstrap import (
    CLIENTS_CERTIFICATE,
    Json,
    RouterTls,
    bootstrap,
    clients_secret_files,
    secret_file,
    secret_files,
)
from celadon.gateway.certificates import make_private_directory, replace_file, write_version
from celadon.gateway.open_files import connections_of_this_process
from celadon.gateway.own_listeners import OwnListeners

BOOTSTRAP: Final = "envoy.json"
ADMIN_SOCKET: Final = "admin.sock"


@dataclass(frozen=True, slots=True)
class RouterFiles:
    """Where the files of one router are written, and what stands in them."""

    node: RouterNode
    directory: Path
    """Where they are written, absolute."""
    gateways: Sequence[GatewayAddress]
    admin: Path
    listens: Mapping[str, SocketAddress] = field(default_factory=dict)
    """Addresses of its own, by the name of the listener."""
    at: Path | None = None
    """Where the router finds the directory, when that is another path than here."""
    own_certificates: Path | None = None
    """Where the router finds certificates that others issue; ``None`` when Celadon does, or none is needed."""
    gateway_identities: tuple[str, ...] = ()
    clients_certificates: Path | None = None
    """Where the router finds ``tls.crt`` and ``tls.key`` that it shows to clients; ``None`` where they speak no TLS."""
    max_connections: int = field(default_factory=connections_of_this_process)
    """How many connections of clients it may hold."""

    @property
    def bootstrap(self) -> Path:
        """What ``envoy -c`` is given."""
        return self.directory / BOOTSTRAP

    def write(self, issued: Issued | None) -> None:
        """Write everything; a router that runs takes a new certificate at its next connection.

        Raises:
            ValueError: a bootstrap with these addresses cannot be.
            CertificateError: others may write to the directory.
            OSError: something cannot be written.

        """
        seen_at = self.at or self.directory
        certificates = self.own_certificates or (seen_at if issued is not None else None)
        tls = None if certificates is None else RouterTls(certificates, seen_at, self.gateway_identities)
        documents: dict[str, Json] = {} if certificates is None else dict(secret_files(certificates))
        own = OwnListeners(self.listens)
        if self.clients_certificates is not None:
            documents |= clients_secret_files(self.clients_certificates)
            own = replace(own, certificate_secret=str(seen_at / secret_file(CLIENTS_CERTIFICATE)))
        documents[BOOTSTRAP] = bootstrap(
            self.node, self.gateways, self.admin, own, tls, max_connections=self.max_connections
        )
        make_private_directory(self.directory)
        if issued is not None:
            write_version(self.directory, issued.serial, issued.files)
        for name, document in documents.items():
            content = (json.dumps(document, indent=2) + "\n").encode()
            if not (self.directory / name).is_symlink() and _holds(self.directory / name, content):
                continue  # Envoy reads a file of secrets again when it is touched, for nothing.
            replace_file(self.directory / name, content)


def _holds(file: Path, content: bytes) -> bool:
    try:
        return file.read_bytes() == content
    except FileNotFoundError:
        return False
