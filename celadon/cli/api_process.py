"""``celadon api`` and ``celadon api schema``."""

import logging
from pathlib import Path

from celadon.api.process import run_api
from celadon.api.schema_files import write_schema_files
from celadon.api.settings import ApiSettings
from celadon.cli.ending import ExitCode
from celadon.cli.faults import CommandError
from celadon.cli.output import print_text
from celadon.logs import log_to_stderr


async def run_api_process() -> ExitCode:
    """Serve callers until a signal ends it.

    Raises:
        CommandError: the address cannot be listened on.
        ValidationError: a setting is missing or wrong.

    """
    log_to_stderr(logging.INFO)
    settings = ApiSettings()
    try:
        await run_api(settings)
    except OSError as error:
        raise CommandError(
            f"the API cannot run: {error}; end what listens there, or set CELADON_API_ADDRESS (now "
            f"{settings.api_address}) to a free address",
        ) from error
    return ExitCode.DONE


async def write_schemas(directory: Path) -> ExitCode:
    """Write the schema files of this version.

    Raises:
        CommandError: they cannot be written.

    """
    try:
        written = write_schema_files(directory)
    except OSError as error:
        raise CommandError(f"the schema files cannot be written: {error}; name another directory") from error
    print_text(*(str(file) for file in written))
    return ExitCode.DONE
