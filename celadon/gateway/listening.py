"""Where a gateway listens: on a Unix socket that its own user alone can open, or with mutual TLS."""

import os
import socket
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import grpc
import grpc.aio

from celadon.gateway.addresses import GatewayAddress, UnixAddress
from celadon.gateway.certificates import OTHERS_WRITE, CertificateError

SOCKET_MODE: Final = 0o600

_umask = threading.Lock()


def listen(server: grpc.aio.Server, address: GatewayAddress, credentials: grpc.ServerCredentials | None) -> None:
    """Let a server listen.

    Args:
        server: the server, before it starts.
        address: where.
        credentials: of mutual TLS; ``None`` for a Unix socket, which alone may do without.

    Raises:
        CertificateError: a TCP address without credentials, or a socket that others could put in place.
        OSError: the address is not free.

    """
    if isinstance(address, UnixAddress):
        _check_place(address.path)
    elif credentials is None:
        raise plain_tcp_refused(address)
    try:
        if isinstance(address, UnixAddress):
            with _created_with_mode():
                server.add_insecure_port(str(address))
        elif credentials is not None:
            server.add_secure_port(str(address), credentials)
    except RuntimeError as error:
        raise OSError(f"the gateway cannot listen on {address}: {error}") from error
    if isinstance(address, UnixAddress) and stat.S_IMODE(address.path.lstat().st_mode) != SOCKET_MODE:
        raise OSError(f"the socket {address.path} has another mode than {SOCKET_MODE:o}")


def plain_tcp_refused(address: GatewayAddress) -> CertificateError:
    """Return why a gateway does not listen on a TCP address without certificates."""
    return CertificateError(
        f"plain TCP is refused: on {address} any process could speak for a router. Set CELADON_GATEWAY_TLS_DIR to a "
        "directory with certificates ('celadon gateway certificate --to DIR' writes one), or let "
        "CELADON_GATEWAY_ADDRESS name a Unix socket (unix:/path) for routers on this machine",
    )


def _check_place(path: Path) -> None:
    """Refuse a path at which another user could put a socket, and one at which somebody listens."""
    try:
        directory = path.parent.stat()
    except OSError as error:
        raise OSError(f"the gateway cannot listen on {path}: {error}") from error
    if directory.st_uid not in {0, os.geteuid()} or directory.st_mode & OTHERS_WRITE:
        raise CertificateError(
            f"others may put files into {path.parent}, so a router could not know who listens on {path}; name a "
            "socket in a directory that only this user can write to",
        )
    try:
        status = path.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(status.st_mode):
        raise OSError(f"the gateway cannot listen on {path}: something else than a socket is there; remove it")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            # One that was left by a gateway that was killed; gRPC removes it.
            return
    raise OSError(f"the gateway cannot listen on unix:{path}: another process does")


@contextmanager
def _created_with_mode() -> Iterator[None]:
    """Give what is created meanwhile no right for others; the umask is one of the whole process."""
    with _umask:
        before = os.umask(0o777 & ~SOCKET_MODE)
        try:
            yield
        finally:
            os.umask(before)
