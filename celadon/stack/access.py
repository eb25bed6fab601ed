"""What lets people into a local stack's API: an admin's token and the API's signing key, for the owner alone."""

from typing import Final

from sqlalchemy.ext.asyncio import AsyncSession

from celadon.client.signatures import Signer, make_key_pair
from celadon.domain.language.permissions import Role
from celadon.login_name import login_name
from celadon.owned_files import read_text, write_file
from celadon.stack.addresses import StackAddresses
from celadon.stack.layout import DataDirectory
from celadon.table.access.tokens import NewToken, TokenNameTakenError, create_token, find_token
from celadon.table.core.engine import Table

_CREATOR: Final = "celadon up"
_NOBODY_KNOWN: Final = "local-admin"


def ensure_signing_key(directory: DataDirectory) -> None:
    """Make the pair of keys with which the API signs and the workers check, unless it is there.

    Raises:
        OSError: a file cannot be written.

    """
    if not (directory.signing_key.exists() and directory.verify_keys.exists()):
        make_key_pair(directory.signing_key, directory.verify_keys)


def signer_of(addresses: StackAddresses) -> Signer:
    """Return what signs for a running stack: its own key, for its owner alone.

    Raises:
        KeyFileError: it cannot be read.

    """
    return Signer.of_file(DataDirectory(addresses.data_dir).signing_key)


async def ensure_admin_token(directory: DataDirectory, database_url: str) -> None:
    """Make an admin's token, unless the one in its file is good.

    Raises:
        OSError: its file cannot be written.

    """
    async with Table(database_url, "celadon-up", pool_size=1) as table, table.transaction() as tx:
        try:
            known = read_text(directory.admin_token, private=True).strip()
        except FileNotFoundError:
            known = ""
        if known and await find_token(tx, known) is not None:
            return
        text = await _create_for_owner(tx)
        write_file(directory.admin_token, f"{text}\n", mode=0o600)


async def _create_for_owner(tx: AsyncSession) -> str:
    """Create a token that is named as its owner is logged in, which the audit log then shows."""
    owner = name = login_name() or _NOBODY_KNOWN
    number = 1
    while True:
        wanted = NewToken(name=name, roles=(Role.ADMIN,), scope={}, created_by=_CREATOR)
        try:
            _, text = await create_token(tx, wanted)
        except TokenNameTakenError:
            # Names are given once, so a token that takes the place of a lost one has another.
            number += 1
            name = f"{owner}-{number}"
        else:
            return text
