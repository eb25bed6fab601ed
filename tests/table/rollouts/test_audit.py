"""Lines that a workflow tells the audit log are written once, whichever run tells them and however many they are."""

from celadon.domain.language.steps import Note, Step
from celadon.table.rollouts.audit import write_notes
from tests.table.rows import NOW, Opened, Rows


def _step(opened: Opened, *notes: Note) -> Step:
    return Step(deployment=opened.begun.deployment, rollout=opened.begun.rollout, notes=notes, run="run-1")


def _note(seq: int, run: str = "run-1", kind: str = "verifying") -> Note:
    return Note(seq=seq, run=run, at=NOW, kind=kind)


async def _write(rows: Rows, step: Step) -> None:
    async with rows.table.transaction() as tx:
        await write_notes(tx, step)


async def _told(rows: Rows) -> list[tuple[str, int]]:
    written = await rows.rows("select run, seq from rollout_events where seq is not null order by id")
    return [(row["run"], row["seq"]) for row in written]


async def test_a_line_that_an_earlier_attempt_wrote_stays_alone(rows: Rows) -> None:
    opened = await rows.ready()

    await _write(rows, _step(opened, _note(1)))
    await _write(rows, _step(opened, _note(1), _note(2)))

    assert await _told(rows) == [("run-1", 1), ("run-1", 2)]


async def test_lines_of_another_run_with_the_same_numbers_are_written_too(rows: Rows) -> None:
    opened = await rows.ready()

    await _write(rows, _step(opened, _note(1)))
    await _write(rows, _step(opened, _note(1, "run-2")))

    assert await _told(rows) == [("run-1", 1), ("run-2", 1)]


async def test_more_lines_than_one_statement_takes_parameters_for_are_written(rows: Rows) -> None:
    """Steps of earlier versions carried as many as came; 3,277 of them were beyond what Postgres takes at once."""
    opened = await rows.ready()

    await _write(rows, _step(opened, *(_note(seq) for seq in range(1, 4001))))

    assert len(await _told(rows)) == 4000
