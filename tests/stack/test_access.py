"""The owner of a local stack has a token, named as the owner is logged in, for the owner alone."""

import getpass
import stat
from pathlib import Path

from celadon.domain.language.permissions import Role
from celadon.stack.access import ensure_admin_token
from celadon.stack.layout import DataDirectory
from celadon.table.access.tokens import find_token
from celadon.table.core.engine import Table


async def _name_of_token(directory: DataDirectory, table: Table) -> str:
    await ensure_admin_token(directory, table.database_url)
    async with table.transaction() as tx:
        record = await find_token(tx, directory.admin_token.read_text().strip())
    assert record is not None
    assert record.roles == (Role.ADMIN,)
    return record.name


async def test_a_token_is_made_once_and_one_that_was_lost_is_made_anew(table: Table, tmp_path: Path) -> None:
    directory = DataDirectory.create(tmp_path / "stack")

    names = [await _name_of_token(directory, table) for _ in range(2)]
    directory.admin_token.unlink()
    names.append(await _name_of_token(directory, table))

    owner = getpass.getuser()
    assert names == [owner, owner, f"{owner}-2"]
    assert stat.S_IMODE(directory.admin_token.stat().st_mode) == 0o600
