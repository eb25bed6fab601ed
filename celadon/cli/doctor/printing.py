"""Findings as people read them."""

from collections.abc import Sequence
from typing import Final

from celadon.cli.doctor.findings import Finding, Verdict
from celadon.terminal import Text

_MARKS: Final = {
    Verdict.FINE: ("✔", "green"),
    Verdict.ODD: ("!", "yellow"),
    Verdict.WRONG: ("✘", "bold red"),
    Verdict.MENDED: ("✔", "bold green"),
}


def describe(finding: Finding) -> Text:
    """Return one finding, with a line for each thing that there is to say."""
    mark, style = _MARKS[finding.verdict]
    text = Text(f"{mark} ", style=style).append(f"{finding.check}: {finding.told}", style="default")
    for lead, said in (
        ("why it matters: ", finding.why),
        ("mended: ", finding.done),
        ("→ ", finding.next_step),
        ("→ --fix would ", "" if finding.done else finding.remedy),
    ):
        if said:
            text.begin_line(f"  {lead}{said}", style="default")
    return text


def describe_result(findings: Sequence[Finding], checked: str, *, fixed: bool) -> Text:
    """Return the last line: how it stands."""
    verdicts = [finding.verdict for finding in findings]
    wrong, mended = verdicts.count(Verdict.WRONG), verdicts.count(Verdict.MENDED)
    text = Text(f"Checked {checked}: ")
    if mended:
        text.append(f"mended {mended}; ", style="green")
    if not wrong:
        return text.append("nothing is wrong." if not mended else "nothing is wrong any more.", style="green")
    text.append(f"{wrong} not well.", style="red")
    mendable = sum(bool(finding.remedy) and finding.verdict is Verdict.WRONG for finding in findings)
    if mendable and not fixed:
        text.append(f" 'celadon doctor --fix' mends {mendable} of that.")
    return text
