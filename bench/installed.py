"""Celadon as an installation has it: modules are compiled once, and not again at each start of a process."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def compiled_once() -> Iterator[None]:
    """Let processes that are started meanwhile share what the first of them compiles, whatever the environment says.

    Where ``PYTHONDONTWRITEBYTECODE`` is set, as in many container images, each start of a checkout takes a second more.
    """
    before = {name: os.environ.get(name) for name in ("PYTHONDONTWRITEBYTECODE", "PYTHONPYCACHEPREFIX")}
    with tempfile.TemporaryDirectory(prefix="celadon-bytecode-") as directory:
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        os.environ["PYTHONPYCACHEPREFIX"] = directory
        try:
            yield
        finally:
            for name, value in before.items():
                if value is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = value
