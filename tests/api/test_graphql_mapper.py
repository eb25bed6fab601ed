"""A type of the schema is made of the Pydantic model that it shows."""

from datetime import UTC, datetime, timedelta
from enum import Enum
from types import new_class

import pytest
import strawberry

from celadon.api.graphql_descriptions import describe
from celadon.api.graphql_mapper import View, mapped
from celadon.domain.language.base_models import Record, StrictModel
from celadon.domain.language.names import RolloutId

MOMENT = datetime(2026, 3, 2, 12, tzinfo=UTC)


class Fruit(Enum):
    """A fruit."""

    PEAR = "pear"
    """It is green."""


class Recipe(StrictModel):
    """What people write."""

    minutes: int = 5


class Crumb(Record):
    """A part of a cake."""

    grams: float
    """What it weighs."""


class Cake(Record):
    """A cake."""

    cake: int
    """Its number."""
    rollout: RolloutId | None
    """The rollout that it celebrates."""
    fruit: Fruit
    """What is in it."""
    baked_at: datetime | None
    """When it was baked."""
    rest: timedelta
    """How long it rests."""
    candles: dict[str, int]
    """By colour."""
    recipe: Recipe
    """How it was made."""
    crumbs: tuple[Crumb, ...]
    """What is left."""
    secret: str = ""
    """Whose it is."""

    @property
    def weight(self) -> float:
        """What all crumbs weigh."""
        return sum(crumb.grams for crumb in self.crumbs)


class ShownCake(
    View[Cake],
    hides="secret",
    first="id weight",
    id="cake",
    rollout_id="rollout",
    weight="weight",
):
    """A cake, as guests see it."""

    @strawberry.field
    def rest(self) -> float:
        """Return the span."""
        return self.record.rest.total_seconds()


CAKE = Cake(
    cake=7,
    rollout=None,
    fruit=Fruit.PEAR,
    baked_at=MOMENT,
    rest=timedelta(minutes=2),
    candles={"red": 3},
    recipe=Recipe(),
    crumbs=(Crumb(grams=1.5), Crumb(grams=2)),
)

SCHEMA = """
type ShownCake {
  \"""Its number.\"""
  id: ID!

  \"""What all crumbs weigh.\"""
  weight: Float!

  \"""The rollout that it celebrates.\"""
  rolloutId: ID

  \"""What is in it.\"""
  fruit: Fruit!

  \"""When it was baked.\"""
  bakedAt: DateTime

  \"""How long it rests.\"""
  rest: Float!

  \"""By colour.\"""
  candles: JSON!

  \"""How it was made.\"""
  recipe: JSON!

  \"""What is left.\"""
  crumbs: [Crumb!]!
}
"""


@strawberry.type
class Query:
    """What can be read."""

    @strawberry.field
    def cake(self) -> ShownCake:
        """Return the cake."""
        return ShownCake.of(CAKE)


@pytest.fixture(scope="module")
def schema() -> strawberry.Schema:
    made = strawberry.Schema(query=Query)
    describe(made)
    return made


def test_a_type_has_the_fields_and_the_texts_of_its_model(schema: strawberry.Schema) -> None:
    assert SCHEMA.strip() in schema.as_str()


def test_a_model_inside_of_a_model_becomes_a_type_with_its_own_text(schema: strawberry.Schema) -> None:
    assert '"""A part of a cake."""\ntype Crumb {\n  """What it weighs."""\n  grams: Float!\n}' in schema.as_str()


def test_values_are_shown_as_their_types_say(schema: strawberry.Schema) -> None:
    result = schema.execute_sync("{ cake { id weight rolloutId fruit bakedAt rest candles recipe crumbs { grams } } }")

    assert result.errors is None
    assert result.data == {
        "cake": {
            "id": "7",
            "weight": 3.5,
            "rolloutId": None,
            "fruit": "PEAR",
            "bakedAt": MOMENT.isoformat(),
            "rest": 120.0,
            "candles": {"red": 3},
            "recipe": {"minutes": 5},
            "crumbs": [{"grams": 1.5}, {"grams": 2.0}],
        }
    }


@pytest.mark.parametrize("keyword", ["hides", "first", "id"])
def test_a_name_that_the_model_does_not_have_is_refused(keyword: str) -> None:
    with pytest.raises(TypeError, match="Cake has no icing"):
        new_class("Wrong", (View[Cake],), {keyword: "icing"})


def test_spans_and_mappings_have_types() -> None:
    assert mapped(timedelta).kind is str
    assert mapped(tuple[timedelta, ...] | None).kind == list[str] | None
    assert mapped(dict[str, timedelta]).kind is mapped(dict).kind
