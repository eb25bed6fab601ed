"""The files in docs/api are what the code says."""

from http import HTTPStatus
from pathlib import Path

import pytest

from celadon.api.problems import STATUS
from celadon.api.schema_files import schema_files
from celadon.domain.language.errors import RefusalCode

DOCS = Path(__file__).parents[2] / "docs" / "api"


@pytest.mark.parametrize("name", ["schema.graphql", "openapi.json"])
def test_a_schema_file_is_what_the_code_says(name: str) -> None:
    assert (DOCS / name).read_text(encoding="utf-8") == schema_files()[name], (
        f"docs/api/{name} is stale: write it anew with 'celadon api schema docs/api'"
    )


def test_every_refusal_has_a_status() -> None:
    assert set(STATUS) == set(RefusalCode)
    assert all(400 <= status < 600 for status in STATUS.values())
    assert STATUS[RefusalCode.FORBIDDEN] is HTTPStatus.FORBIDDEN
