"""Can other programs of this machine open the local stack's database."""

from celadon.cli.doctor.findings import Diagnosis, fine, odd
from celadon.stack.addresses import StackAddresses
from celadon.stack.os_user import is_shared
from celadon.stack.postgres import HOW_TO_SEPARATE
from celadon.stack.postgres_home import owner_of

_CHECK = "database's user"


def check_postgres_account(stack: StackAddresses | None) -> tuple[Diagnosis, ...]:
    """Look as whom the stack's Postgres runs; nothing is said of a Postgres that is not the stack's."""
    if stack is None:
        return ()
    owner = owner_of(stack.data_dir)
    if owner is not None and is_shared(owner):
        diagnosis = odd(
            _CHECK,
            "Postgres runs as nobody, as other programs of this machine may",
            why="whatever runs as nobody can read and change its files, and so promote, start and read anything",
            next_step=HOW_TO_SEPARATE,
        )
    else:
        diagnosis = fine(_CHECK, "nothing else runs as it")
    return (diagnosis,)
