"""The environment of a child: what the operator has, less what would lead the child elsewhere."""

import os
import site
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import celadon

_LEADS_ELSEWHERE: Final = ("PG", "TEMPORAL_", "DATABASE_URL")
"""Variables of Postgres' and Temporal's own clients, which may name other servers and their credentials."""


def inherited_environment(additions: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the environment of this process, without other servers' addresses, with ``additions``."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_LEADS_ELSEWHERE)}
    # Temporal's clients also read a file in the home directory, unless they are told another one.
    kept["TEMPORAL_CONFIG_FILE"] = os.devnull
    return kept | dict(additions or {})


def python_environment(additions: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a Python child that must import the same Celadon as this process."""
    environment = inherited_environment(additions)
    source = Path(celadon.__file__).parent.parent
    if str(source) not in {*site.getsitepackages(), site.getusersitepackages()}:
        others = environment.get("PYTHONPATH")
        environment["PYTHONPATH"] = os.pathsep.join([str(source), *([others] if others else [])])
    return environment
