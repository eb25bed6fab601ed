"""The two lock files: what runs Celadon, and what its development needs besides."""

import re
from importlib.metadata import distribution
from pathlib import Path

from packaging.utils import canonicalize_name

from tests.deploy.files import ROOT
from tests.packaging.clean_environment import names_needed

RUN_TIME = ROOT / "requirements.lock"
DEVELOPMENT = ROOT / "requirements-dev.lock"


def _pins(lock: Path) -> dict[str, str]:
    found = re.findall(r"^([a-z0-9][a-z0-9._-]*)==(\S+)", lock.read_text(), re.MULTILINE)
    return {canonicalize_name(name): version for name, version in found}


def test_the_first_pins_what_the_local_stack_needs_and_nothing_else() -> None:
    assert set(_pins(RUN_TIME)) == names_needed(distribution("celadon"), "local")


def test_the_second_pins_what_development_needs() -> None:
    assert set(_pins(DEVELOPMENT)) == names_needed(distribution("celadon"), "dev")


def test_both_pin_the_same_versions() -> None:
    development = _pins(DEVELOPMENT)

    assert {name: development.get(name) for name in _pins(RUN_TIME)} == _pins(RUN_TIME)


def test_everything_has_its_hashes() -> None:
    for lock in (RUN_TIME, DEVELOPMENT):
        entries = re.split(r"\n(?=[a-z0-9])", lock.read_text().strip())
        assert not [entry.splitlines()[0] for entry in entries if "--hash=sha256:" not in entry]
