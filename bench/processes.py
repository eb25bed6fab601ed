"""What the processes of a stack use: processor time, memory, bytes written."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

import psutil

MIB: Final = 1 << 20


@dataclass(frozen=True)
class Usage:
    """What a process and its descendants have used since they started, and the memory that they hold."""

    cpu_seconds: float
    resident_mib: float
    written_mib: float
    """Bytes that the kernel was given to write to a disk (``write_bytes`` of ``/proc/PID/io``), in MiB."""

    @classmethod
    def of(cls, pid: int) -> Self:
        """Add up a process and its descendants; one that ends meanwhile is left out."""
        cpu = resident = written = 0.0
        for process in (psutil.Process(pid), *psutil.Process(pid).children(recursive=True)):
            try:
                times = process.cpu_times()
                # What has ended counts at the process that waited for it, for example a connection's at Postgres.
                cpu += times.user + times.system + times.children_user + times.children_system
                # Postgres' processes share most of their memory: what is shared counts once.
                resident += process.memory_full_info().pss / MIB
                written += _written(process.pid)
            except (psutil.NoSuchProcess, FileNotFoundError, ProcessLookupError):
                continue
        return cls(cpu, resident, written)


def usage_of(children: Mapping[str, int]) -> dict[str, Usage]:
    """Return what each child of a stack has used."""
    return {name: Usage.of(pid) for name, pid in children.items()}


def _written(pid: int) -> float:
    lines = Path(f"/proc/{pid}/io").read_text(encoding="ascii").splitlines()
    return next(int(line.partition(":")[2]) for line in lines if line.startswith("write_bytes")) / MIB
