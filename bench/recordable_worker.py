"""A worker as it is, which writes the statements of its transactions to a file when it is told to.

``SIGUSR1`` begins a recording and ``SIGUSR2`` ends it. Meanwhile nothing is noted, so this worker can be measured.

    CELADON_BENCH_RECORDING=FILE python -m bench.recordable_worker
"""

import os
import pickle
import runpy
import signal
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from bench.statements import Recorder, Transaction
from celadon.stack.children import stack_children
from celadon.stack.layout import DataDirectory
from celadon.stack.postgres_home import PostgresHome
from celadon.stack.process import ChildSpec
from celadon.stack.settings import StackSettings

RECORDING_VARIABLE: Final = "CELADON_BENCH_RECORDING"
_RECORDING: Final = "recording.pickle"


def recording_file(data_dir: Path) -> Path:
    """Return where the worker of a stack writes what it has noted."""
    return data_dir / _RECORDING


def children_with_recordable_worker(
    directory: DataDirectory,
    settings: StackSettings,
    home: PostgresHome,
    working_directory: Path,
) -> tuple[ChildSpec, ...]:
    """Describe a stack's children; its first worker is the one of this module."""
    return tuple(
        replace(
            child,
            command=(*child.command[:-1], "bench.recordable_worker"),
            environment={**child.environment, RECORDING_VARIABLE: str(recording_file(directory.path))},
        )
        if child.name == "worker"
        else child
        for child in stack_children(directory, settings, home, working_directory)
    )


def read_recording(file: Path) -> Sequence[Transaction]:
    """Return what a worker of this machine has noted."""
    with file.open("rb") as noted:
        transactions: list[Transaction] = pickle.load(noted)  # noqa: S301 - our own worker wrote it, for us alone
    return transactions


def _write(file: Path, transactions: Sequence[Transaction]) -> None:
    unfinished = file.with_suffix(".part")
    with unfinished.open("wb") as noted:
        pickle.dump(transactions, noted)
    unfinished.rename(file)


def main() -> None:
    """Run the worker."""
    file = Path(os.environ[RECORDING_VARIABLE])
    recorder = Recorder()
    signal.signal(signal.SIGUSR1, lambda *_: recorder.start())
    signal.signal(signal.SIGUSR2, lambda *_: _write(file, recorder.stop()))
    runpy.run_module("worker", run_name="__main__")


if __name__ == "__main__":
    main()
