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
    return importing_this_celadon(inherited_environment(additions))


def importing_this_celadon(environment: Mapping[str, str]) -> dict[str, str]:
    """Return an environment in which a Python child imports the same Celadon as this process."""
    source = Path(celadon.__file__).parent.parent
    if str(source) in {*site.getsitepackages(), site.getusersitepackages()}:
        return dict(environment)
    others = environment.get("PYTHONPATH")
    return {**environment, "PYTHONPATH": os.pathsep.join([str(source), *([others] if others else [])])}
