"""What a query weighs: pages by the length that is asked for, however it is asked."""

from typing import Any

import pytest
from graphql import get_introspection_query

from celadon.api.graphql_schema import make_schema


async def refusal(query: str, cost: int = 1000, **variables: Any) -> str:
    """Return why a query is refused before it is carried out; empty when it is not refused."""
    result = await make_schema(12, cost).execute(query, variable_values=variables, context_value=None)
    # Nothing can be read here, so a query that is let through fails when it is carried out.
    told = [
        error.message for error in result.errors or () if (error.extensions or {}).get("code", "").startswith("QUERY")
    ]
    return told[0] if told else ""


def page(first: str) -> str:
    return "{ deployments" + first + " { edges { node { name } } } }"


@pytest.mark.parametrize(
    ("query", "variables", "cost"),
    [
        # The page itself, and for each element the edge, the node and the field.
        (page(""), {}, 1 + 20 * 3),
        (page("(first: 7)"), {}, 1 + 7 * 3),
        ("query($n: Int) " + page("(first: $n)"), {"n": 9}, 1 + 9 * 3),
        ("query($n: Int = 90) " + page("(first: $n)"), {}, 1 + 90 * 3),
        ("query($n: Int = 1) " + page("(first: $n)"), {"n": 90}, 1 + 90 * 3),
        ("query($n: Int) " + page("(first: $n)"), {"n": 90.0}, 1 + 90 * 3),
        ("query($n: Int) " + page("(first: $n)"), {}, 1 + 100 * 3),
        ("{ deployments(first: 50) { pageInfo { endCursor } } }", {}, 1 + 2),
        (("{ ...f } fragment f on Query { deployments(first: 7) { ...g } } "
          "fragment g on DeploymentConnection { edges { ...h } } fragment h on DeploymentEdge { node { name } }"),
         {}, 1 + 7 * 3),
        (("{ a: deployments(first: 7) { ...g } b: deployments(first: 3) { ...g } } "
          "fragment g on DeploymentConnection { edges { node { name } } }"), {}, 1 + 7 * 3 + 1 + 3 * 3),
        ("{ deployments(first: 2) { edges { node { rollouts(first: 5) { edges { node { id } } } } } } }", {},
         1 + 2 * (2 + 1 + 5 * 3)),
        ("{ routers(first: 2) { edges { node { behind(first: 5) { edges { node { epoch } } } } } } }", {},
         1 + 2 * (2 + 1 + 5 * 3)),
        ('{ routes(deploymentId: "chat", first: 30) { edges { node { id port } } } }', {}, 1 + 30 * 4),
        ("{ deployments(first: 2) { edges { node { labels { name } } } } }", {}, 1 + 2 * (2 + 1 + 64)),
    ],
)  # fmt: skip
async def test_a_query_costs_what_it_can_answer_with(query: str, variables: dict[str, Any], cost: int) -> None:
    assert await refusal(query, cost, **variables) == ""
    assert "costs more" in await refusal(query, cost - 1, **variables)


DOUBLING = " ".join(f"fragment f{n} on Deployment {{ ...f{n + 1} ...f{n + 1} }}" for n in range(300))
NODE = "{ deployments(first: 1) { edges { node { %s } } } }"


@pytest.mark.parametrize(
    ("query", "why"),
    [
        (NODE % "...f0" + DOUBLING + " fragment f300 on Deployment { name }", "costs more"),
        (NODE % ("name " * 101), "at the same depth"),
        (NODE % ("...f " * 11) + " fragment f on Deployment {" + " name" * 10 + "}", "at the same depth"),
        (NODE % ("... on Deployment { name " * 8 + "name " * 100 + "}" * 8), "at the same depth"),
        ("{ " + "__typename " * 101 + "}", "at the same depth"),
        ("{ " + " ".join(f"a{n}: __typename" for n in range(31)) + " }", "aliases"),
        (NODE % ("...f " * 4) + " fragment f on Deployment {" + " ".join(f"a{n}: name" for n in range(8)) + "}",
         "aliases"),
        (" ".join(f"query q{n} {{ __typename }}" for n in range(11)), "operations"),
        ("mutation { " + " ".join(f'a{n}: forgetRouter(input: {{routerId: "x"}}) {{ __typename }}' for n in range(11))
         + " }", "changes"),
        ("{ deployments(first: 21) { edges { node { workflow { phase } } } } }", "workflows"),
        (NODE % "rollouts(first: 21) { edges { node { deployment { workflow { phase } } } } }", "workflows"),
        ("{ __schema { types " + "{ fields { type " * 3 + "{ fields { name } }" + " } }" * 3 + " } }", "costs"),
        ("{ __schema { types " + "{ ofType " * 17 + "{ name }" + " }" * 18 + " }", "deeper"),
    ],
)  # fmt: skip
async def test_a_query_that_is_made_to_be_dear_is_refused(query: str, why: str) -> None:
    assert why in await refusal(query, 20_000)


async def test_the_query_by_which_tools_read_the_schema_is_let_through() -> None:
    query = get_introspection_query(specified_by_url=True, directive_is_repeatable=True)
    result = await make_schema(12, 20_000).execute(query, context_value=None)
    assert result.errors is None
    assert result.data is not None
    assert {"Query", "Deployment"} <= {one["name"] for one in result.data["__schema"]["types"]}


async def test_fragments_that_contain_one_another_are_weighed_once() -> None:
    query = NODE % "...f" + " fragment f on Deployment { ...g name } fragment g on Deployment { ...f name }"
    assert await refusal(query) == ""
