"""The demonstration's options and directory; the demonstration as a whole is an end-to-end test."""

from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import ValidationError

from celadon.stack.demo.demo import DemoOptions, run_demo
from celadon.stack.errors import StackError


def test_holding_for_a_person_and_a_delay_exclude_each_other() -> None:
    with pytest.raises(ValidationError, match="--promote-after has no effect with --hold"):
        DemoOptions(hold=True, promote_after=timedelta(seconds=1))


@pytest.mark.parametrize("rate", [0, -1, 5001])
def test_an_impossible_rate_is_refused(rate: float) -> None:
    with pytest.raises(ValidationError):
        DemoOptions(requests_per_second=rate)


async def test_a_directory_with_something_else_in_it_is_left_alone(tmp_path: Path) -> None:
    tmp_path.joinpath("thesis.tex").write_text("mine")
    with pytest.raises(StackError, match="no demonstration wrote"):
        await run_demo(DemoOptions(data_dir=tmp_path))
    assert tmp_path.joinpath("thesis.tex").read_text() == "mine"
