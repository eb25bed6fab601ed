"""Log lines that nobody can be told."""

import os
import subprocess
import sys

LOGS_ON = (
    "import structlog\n"
    "from celadon.logs import log_to_stderr\n"
    "log_to_stderr(20)\n"
    "input()\n"
    "structlog.get_logger().info('told')\n"
    "print('went on', flush=True)\n"
)


def test_a_process_whose_log_nobody_reads_goes_on() -> None:
    reader, writer = os.pipe()
    with subprocess.Popen(
        [sys.executable, "-c", LOGS_ON], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=writer, text=True
    ) as process:
        os.close(writer)
        os.close(reader)
        told, _ = process.communicate("\n", timeout=60)

    assert (process.returncode, told) == (0, "went on\n")


def test_a_line_that_finds_no_room_is_dropped() -> None:
    with open("/dev/full", "w") as full:  # noqa: PTH123 - a device
        ended = subprocess.run(
            [sys.executable, "-c", LOGS_ON], check=False, input="\n", stdout=subprocess.PIPE, stderr=full, text=True
        )

    assert ended.stdout == "went on\n"
