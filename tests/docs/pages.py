"""The reference pages, by the names of their files below ``docs/reference``.

Those of commands and permissions come from the registry of commands: ``python -m celadon.service.reference``.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

from tests.docs.commands_page import commands_page
from tests.docs.health_checks_page import health_checks_page
from tests.docs.metrics_page import metrics_page
from tests.docs.policy_page import policy_page
from tests.docs.refusals_page import refusals_page
from tests.docs.settings_page import settings_page
from tests.docs.states_page import states_page
from tests.docs.tables import REPOSITORY

REFERENCE: Final = REPOSITORY / "docs" / "reference"

PAGES: Final[Mapping[str, Callable[[], str]]] = MappingProxyType(
    {
        "command-line.md": commands_page,
        "health-checks.md": health_checks_page,
        "metrics.md": metrics_page,
        "policy.md": policy_page,
        "refusals.md": refusals_page,
        "settings.md": settings_page,
        "states.md": states_page,
    },
)

NOTE: Final = "<!-- Generated from the code by `python -m tests.docs`; a test compares the two. -->\n"


def content_of(name: str) -> str:
    """Return the content of one file."""
    return NOTE + PAGES[name]()


def write_pages(directory: Path) -> None:
    """Write every page into ``directory``; raises ``OSError`` when one cannot be written."""
    directory.mkdir(parents=True, exist_ok=True)
    for name in PAGES:
        (directory / name).write_text(content_of(name), encoding="utf-8")
