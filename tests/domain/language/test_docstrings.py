"""What stands under attributes is read when somebody asks, and describes JSON Schemas."""

from enum import StrEnum

from celadon.domain.language.base_models import Record
from celadon.domain.language.docstrings import attribute_docstrings


class Kind(StrEnum):
    """An enumeration with one described member."""

    SAID = "said"
    """What it is."""
    UNSAID = "unsaid"


class Plain(Record):
    """A value with fields of every sort."""

    said: int
    """A number,
    on two lines."""
    unsaid: int
    nested: "Kind | None" = None
    """A kind."""


class Heir(Plain):
    """A value that says more than the one that it comes from."""

    unsaid: int
    """Said here."""
    own: str
    """Its own."""


def test_docstrings_under_attributes_are_read_with_those_of_bases() -> None:
    assert attribute_docstrings(Kind) == {"SAID": "What it is."}
    assert attribute_docstrings(Plain) == {"said": "A number,\non two lines.", "nested": "A kind."}
    assert attribute_docstrings(Heir) == {
        "said": "A number,\non two lines.",
        "nested": "A kind.",
        "unsaid": "Said here.",
        "own": "Its own.",
    }


def test_a_class_without_readable_source_has_no_docstrings() -> None:
    class Hidden(Record):
        """A value inside of a function."""

        said: int
        """Not to be found."""

    assert attribute_docstrings(Hidden) == {}
    assert attribute_docstrings(type("Made", (), {"__module__": "no.such.module"})) == {}
    assert "description" not in Hidden.model_json_schema()["properties"]["said"]


def test_a_json_schema_tells_what_stands_under_a_field_also_beside_a_reference() -> None:
    properties = Heir.model_json_schema()["properties"]
    assert {name: one["description"] for name, one in properties.items()} == attribute_docstrings(Heir)


def test_an_inherited_field_that_says_nothing_stays_silent() -> None:
    assert "description" not in Plain.model_json_schema()["properties"]["unsaid"]
