"""What a worker loads before it works: promotions wait for it when it was killed."""

import subprocess
import sys


def test_a_worker_loads_neither_what_migrates_nor_what_prints_tables() -> None:
    script = (
        "import sys, worker.__main__, worker.process; print(sorted({'alembic', 'mako', 'typer'} & set(sys.modules)))"
    )

    loaded = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True, timeout=60
    ).stdout

    assert loaded.strip() == "[]"
