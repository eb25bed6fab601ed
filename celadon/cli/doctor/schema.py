"""Does Postgres answer, and has it this version's tables."""

from celadon.cli.database import migrate
from celadon.cli.doctor.findings import Diagnosis, Mended, fine, mendable, wrong
from celadon.cli.faults import CommandError
from celadon.cli.session import Session
from celadon.cli.table_access import database_faults_told
from celadon.table.core.schema_revision import current_revision, is_known_revision, newest_revision
from celadon.table.core.startup import DatabaseRefusedError, refuse_transaction_pooler

_CHECK = "Postgres"
_WHY = "every step of a rollout, and every route, is a row in it"


async def is_current(session: Session) -> bool:
    """Return whether the tables are there and of this version."""
    try:
        return await _revision(session) == newest_revision()
    except CommandError:
        return False


async def check_schema(session: Session) -> Diagnosis:
    """Compare the tables' revision with the one that this Celadon needs; the mend is the upgrade."""
    try:
        current = await _revision(session)
        with database_faults_told(session.target.database_url):
            await refuse_transaction_pooler(session.target.database_url)
    except DatabaseRefusedError as error:
        finding, _, next_step = str(error).partition("; ")
        return wrong(_CHECK, finding, why=_WHY, next_step=next_step)
    except CommandError as error:
        finding, _, next_step = str(error).removeprefix("Postgres ").partition("; ")
        return wrong(_CHECK, finding, why=_WHY, next_step=next_step)
    newest = newest_revision()
    if current == newest:
        return fine(_CHECK, f"answers, its tables are at revision {newest}")
    finding = f"answers, but its tables are at revision {current or 'none'}; this Celadon needs {newest}"
    why = "no other part of this version can work before that"
    if current is not None and not is_known_revision(current):
        return wrong(_CHECK, finding, why=why, next_step="a newer Celadon has upgraded them: use that one")

    async def mend() -> Mended:
        upgraded = await migrate(session.target.database_url)
        return Mended(done=f"brought the tables from revision {upgraded.before or 'none'} to {upgraded.after}")

    return mendable(
        _CHECK,
        finding,
        why=why,
        next_step="run 'celadon db upgrade'",
        remedy="run the upgrade, as 'celadon db upgrade' does",
        mend=mend,
    )


async def _revision(session: Session) -> str | None:
    with database_faults_told(session.target.database_url):
        return await current_revision(session.target.database_url)
