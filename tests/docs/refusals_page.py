"""The reference page of refusals: codes, meanings, and the status that each has over HTTP."""

from celadon.api.problems import STATUS
from celadon.domain.language.docstrings import attribute_docstrings
from celadon.domain.language.errors import RefusalCode
from tests.docs.tables import code, prose, table


def refusals_page() -> str:
    """Return the page."""
    meanings = attribute_docstrings(RefusalCode)
    rows = [(code(one.value), str(STATUS[one].value), prose(meanings[one.name])) for one in RefusalCode]
    return f"""# Refusals

A refusal is an answer: a stable code, the reason, and the next step. The code is the same at every door: `code` in the
JSON of the command line, in REST and in GraphQL, and the error type of a Temporal update. The second column is the HTTP
status in REST. [troubleshooting.md](../troubleshooting.md) says what to do about the refusals that people meet most.

{table(("code", "HTTP", "meaning"), rows)}"""
