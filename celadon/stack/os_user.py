"""The user of the operating system under which a child runs."""

import grp
import os
import pwd
import secrets
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

import psutil

from celadon.stack.errors import StackError

POSTGRES_USER_VARIABLE: Final = "CELADON_POSTGRES_USER"
"""Names the user that root's Postgres runs as."""

SHARED_USER: Final = "nobody"
"""A user of every Unix, as which all kinds of services run."""

_UNASSIGNED_IDS: Final = (
    # Above what Linux distributions, systemd (https://systemd.io/UIDS-GIDS) and directory services hand out, and below
    # 2^31, from which on some programs take an id for a negative number.
    range(2_100_000_000, 2_147_000_000),
    # What systemd gives to services for as long as they run; for containers, in which higher ids do not exist.
    range(61_184, 65_520),
)
_TRIES: Final = 20
_PROBE_SECONDS: Final = 10


@dataclass(frozen=True, slots=True)
class OsUser:
    """A user of this machine, with the one group its processes have."""

    name: str
    uid: int
    gid: int
    is_named: bool = True
    """Whether the machine has a user of this id; without one, it is an id that nobody has."""

    @classmethod
    def named(cls, name: str) -> Self:
        """Look ``name`` up.

        Raises:
            StackError: this machine has no such user.

        """
        try:
            entry = pwd.getpwnam(name)
        except KeyError as error:
            raise StackError(f"this machine has no user {name!r}: add it, or run as an ordinary user") from error
        return cls(entry.pw_name, entry.pw_uid, entry.pw_gid)

    @classmethod
    def current(cls) -> Self:
        """Return the user this process runs as.

        Raises:
            StackError: the user id has no name, which Postgres needs.

        """
        try:
            entry = pwd.getpwuid(os.geteuid())
        except KeyError as error:
            raise StackError(
                f"user id {os.geteuid()} has no name on this machine, and Postgres needs one: add it to /etc/passwd",
            ) from error
        return cls(entry.pw_name, entry.pw_uid, os.getegid())

    @classmethod
    def unassigned(cls, number: int | None = None) -> Self | None:
        """Return an account of its own: a user id, and a group id, that nobody on this machine has.

        ``number`` is the one of an earlier start. ``None`` when there is no such id, or this system does not tell.
        """
        if number is not None and _is_unassigned(number):
            return cls._numbered(number)
        for ids in _UNASSIGNED_IDS:
            for _ in range(_TRIES):
                chosen = secrets.choice(ids)
                if _is_unassigned(chosen) and chosen not in _users_of_processes():
                    return cls._numbered(chosen)
        return None

    @classmethod
    def _numbered(cls, number: int) -> Self:
        return cls(f"user id {number}", number, number, is_named=False)

    @property
    def is_current(self) -> bool:
        """Whether this process already runs as this user."""
        return self.uid == os.geteuid()

    @property
    def is_shared(self) -> bool:
        """Whether processes that are none of ours usually run as this user."""
        return is_shared(self.uid)

    def can_enter(self, directory: Path) -> bool:
        """Whether a process of this user can use files below ``directory``, by the kernel's own answer."""
        return self._test("-x", directory)

    def can_read(self, file: Path) -> bool:
        """Whether a process of this user can read ``file``."""
        return self._test("-r", file)

    def _test(self, condition: str, path: Path) -> bool:
        other = not self.is_current
        finished = subprocess.run(  # noqa: S603 - a program of every Unix, asked about a path of our own
            ["test", condition, str(path)],  # noqa: S607 - it lies elsewhere on every Unix
            check=False,
            timeout=_PROBE_SECONDS,
            cwd="/",
            user=self.uid if other else None,
            group=self.gid if other else None,
            extra_groups=[] if other else None,
        )
        return finished.returncode == 0


def user_for_postgres(owner: int | None = None) -> OsUser:
    """Return the user that Postgres runs as: this one, or for root, whom Postgres refuses, one of its own.

    That is the user whom ``CELADON_POSTGRES_USER`` names, else an id that nobody on the machine has. Where there is
    none, it is ``nobody``, whose other processes can then open the database. ``owner`` is the user id to which the
    database belongs so far.

    Raises:
        StackError: there is no such user on this machine, or it is root.

    """
    current = OsUser.current()
    if current.uid != 0:
        return current
    if name := os.environ.get(POSTGRES_USER_VARIABLE):
        account = OsUser.named(name)
        if account.uid == 0:
            raise StackError(
                f"{POSTGRES_USER_VARIABLE} names {name}, and Postgres refuses to run as root: name another"
            )
        return account
    return OsUser.unassigned(owner) or OsUser.named(SHARED_USER)


def is_shared(uid: int) -> bool:
    """Whether a user id is the one of ``nobody``."""
    try:
        return uid == pwd.getpwnam(SHARED_USER).pw_uid
    except KeyError:
        return False


def _is_unassigned(number: int) -> bool:
    """Whether a number is no user's and no group's, lies where none are handed out, and exists here."""
    if not any(number in ids for ids in _UNASSIGNED_IDS):
        return False
    try:
        pwd.getpwuid(number)
    except KeyError:
        pass
    else:
        return False
    try:
        grp.getgrgid(number)
    except KeyError:
        pass
    else:
        return False
    return all(any(number in ids for ids in _mapped(kind)) for kind in ("uid", "gid"))


def _mapped(kind: str) -> Iterator[range]:
    """Yield the ids that exist where this process runs: in a container often 65,536, elsewhere all."""
    try:
        lines = Path(f"/proc/self/{kind}_map").read_text(encoding="ascii").splitlines()
    except FileNotFoundError:
        return
    for line in lines:
        first, _, count = map(int, line.split())
        yield range(first, first + count)


def _users_of_processes() -> set[int]:
    users: set[int] = set()
    for process in psutil.process_iter():
        try:
            users.update(process.uids())
        except psutil.Error:
            continue
    return users
