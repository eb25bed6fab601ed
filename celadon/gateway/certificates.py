"""Certificates on disk: laid out and replaced as Kubernetes does it with the secrets that it mounts.

A directory has ``tls.crt``, ``tls.key`` and ``ca.crt``, which are links through ``..data`` into a directory of one
version. To replace all three at once, ``..data`` is renamed over; Envoy and the gateway never see half of a pair.
"""

import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Final

CERTIFICATE: Final = "tls.crt"
KEY: Final = "tls.key"
CA: Final = "ca.crt"

_CURRENT: Final = "..data"
_VERSION: Final = "..version-"
_KEPT_VERSIONS: Final = 2
"""The newest one, and the one that somebody may be reading."""

OTHERS_WRITE: Final = stat.S_IWGRP | stat.S_IWOTH


class CertificateError(Exception):
    """Files of certificates cannot be used; the text says which, why, and what to do."""


def make_private_directory(directory: Path) -> None:
    """Create a directory for its owner alone, or check that nobody else can write to it.

    Raises:
        CertificateError: it is a link, or another user owns it or may write to it.
        OSError: it cannot be created.

    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    check_directory(directory)


def check_directory(directory: Path) -> None:
    """Refuse a directory in which others could put files.

    Raises:
        CertificateError: it is a link, or another user owns it or may write to it.
        OSError: it is not there.

    """
    status = directory.lstat()
    if not stat.S_ISDIR(status.st_mode):
        raise CertificateError(f"{directory} is not a directory; name another one")
    if status.st_uid != os.geteuid():
        raise CertificateError(
            f"{directory} belongs to user id {status.st_uid}, and this is user id {os.geteuid()}; run the command as "
            "that user, or name another directory",
        )
    if status.st_mode & OTHERS_WRITE:
        raise CertificateError(f"others may write to {directory}; take that away with: chmod go-w {directory}")


def write_new(file: Path, content: bytes, mode: int = 0o600) -> None:
    """Write a file that is not there yet, with its mode from the first moment on; raises ``OSError``."""
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode), "wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())


def replace_file(file: Path, content: bytes, mode: int = 0o600) -> None:
    """Write a file whole, in the place of one of this name; raises ``OSError``."""
    draft = file.with_name(f".{file.name}.new")
    draft.unlink(missing_ok=True)
    write_new(draft, content, mode)
    draft.replace(file)


def read_owned(file: Path, *, secret: bool) -> bytes:
    """Return the content of a file of ours without following a link.

    Raises:
        CertificateError: it belongs to another user, or it is secret and others may read it.
        OSError: it cannot be read.

    """
    with os.fdopen(os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb") as stream:
        status = os.fstat(stream.fileno())
        if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid():
            raise CertificateError(f"{file} is not a file of user id {os.geteuid()}; look at who put it there")
        if secret and stat.S_IMODE(status.st_mode) & (stat.S_IRWXG | stat.S_IRWXO):
            raise CertificateError(f"others may read {file}; make a new one, for this one may be known already")
        return stream.read()


def write_version(directory: Path, version: str, files: Mapping[str, bytes]) -> None:
    """Put files in the place of those of the version before, all at the same moment.

    Raises:
        CertificateError: others may write to the directory.
        OSError: something cannot be written; the version before is still in place.

    """
    make_private_directory(directory)
    target = directory / f"{_VERSION}{version}"
    target.mkdir(mode=0o700)
    for name, content in files.items():
        write_new(target / name, content)
    for name in files:
        _link(directory / name, f"{_CURRENT}/{name}")
    _link(directory / _CURRENT, target.name)
    _remove_old_versions(directory)


def _link(link: Path, target: str) -> None:
    """Let ``link`` lead to ``target``, in the place of what was there."""
    draft = link.with_name(f"{link.name}.new")
    draft.unlink(missing_ok=True)
    draft.symlink_to(target)
    draft.rename(link)


def _remove_old_versions(directory: Path) -> None:
    versions = sorted(directory.glob(f"{_VERSION}*"), key=lambda path: path.lstat().st_mtime_ns)
    for old in versions[:-_KEPT_VERSIONS]:
        for file in old.iterdir():
            file.unlink()
        old.rmdir()
