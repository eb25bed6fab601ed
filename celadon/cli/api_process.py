"""``celadon api``, ``celadon api keys`` and ``celadon api schema``."""

import logging
from pathlib import Path

from celadon.api.process import run_api
from celadon.api.schema_files import write_schema_files
from celadon.api.settings import ApiSettings
from celadon.cli.faults import CommandError
from celadon.cli.output import print_text
from celadon.client.signatures import make_key_pair
from celadon.ending import ExitCode
from celadon.logs import log_to_stderr
from celadon.owned_files import make_directory


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


async def make_keys(private: Path, public: Path) -> ExitCode:
    """Make a pair of keys, unless both are there.

    Raises:
        CommandError: one of the two is there alone, or they cannot be written.

    """
    there = [file for file in (private, public) if file.exists()]
    if len(there) == 1:
        raise CommandError(f"{there[0]} is there without the other key of its pair: move it away, or restore the other")
    if there:
        print_text(f"{private} and {public} are there already")
        return ExitCode.DONE
    try:
        make_directory(private.parent)
        make_directory(public.parent, mode=0o755)
        make_key_pair(private, public)
    except OSError as error:
        raise CommandError(f"the keys cannot be written: {error}; name files in directories that are yours") from error
    print_text(
        f"Start the API with CELADON_SIGNING_KEY_FILE={private}",
        f"and each worker with CELADON_VERIFY_KEYS_FILE={public}.",
    )
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
