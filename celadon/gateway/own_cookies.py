"""Filters of every router that keep the console's cookies from replicas, and replicas from setting them.

Envoy has no way to take one cookie out of a header. Where one of ours is in it, the header becomes metadata without it
and is put back; all other requests pass as they are. A header of more than 8 KiB, which metadata cannot hold, is
dropped whole then. An answer that sets one of our cookies loses all that it sets.
"""

from functools import cache
from typing import Final

from celadon.domain.language.console_cookies import HOST_PREFIX, NOTICE_COOKIE, SESSION_COOKIE
from celadon.gateway.protobuf import Fields, pack

_NAMES: Final = rf"(?:{HOST_PREFIX})?(?:{SESSION_COOKIE}|{NOTICE_COOKIE})[ \t]*="
_ANYWHERE: Final = rf"(?:.*[;, \t])?{_NAMES}.*"
"""Envoy joins several headers of the same name by commas before it compares them."""

_OURS: Final = rf"(^[ \t]*|[;,][ \t]*)(?:{_NAMES}[^;,]*(?:[;,][ \t]*|$))+"
_NAMESPACE: Final = "celadon.own_cookies"
_KEY: Final = "cookie"

_FILTERS: Final = "envoy.extensions.filters.http"
_INPUTS: Final = "envoy.type.matcher.v3"


@cache
def own_cookie_filters() -> tuple[Fields, ...]:
    """Return the HTTP filters, in their order; they stand before the router filter."""
    return (
        _where_ours_is(
            "cookie",
            f"{_INPUTS}.HttpRequestHeaderMatchInput",
            "celadon.take_own_cookies",
            pack(
                f"{_FILTERS}.header_to_metadata.v3.Config",
                {
                    "request_rules": [
                        {
                            "header": "cookie",
                            "on_header_present": {
                                "metadata_namespace": _NAMESPACE,
                                "key": _KEY,
                                "regex_value_rewrite": {"pattern": {"regex": _OURS}, "substitution": r"\1"},
                            },
                            "remove": True,
                        },
                    ],
                },
            ),
        ),
        # A header that stayed where it is, is left alone; one of which nothing is left is not put back.
        {
            "name": "celadon.put_cookies_back",
            "typed_config": pack(
                f"{_FILTERS}.header_mutation.v3.HeaderMutation",
                {
                    "mutations": {
                        "request_mutations": [
                            {
                                "append": {
                                    "header": {"key": "cookie", "value": f"%DYNAMIC_METADATA({_NAMESPACE}:{_KEY})%"},
                                    "append_action": "ADD_IF_ABSENT",
                                },
                            },
                        ],
                    },
                },
            ),
        },
        _where_ours_is(
            "set-cookie",
            f"{_INPUTS}.HttpResponseHeaderMatchInput",
            "celadon.refuse_own_cookies",
            pack(
                f"{_FILTERS}.header_mutation.v3.HeaderMutation",
                {"mutations": {"response_mutations": [{"remove": "set-cookie"}]}},
            ),
        ),
    )


def _where_ours_is(header: str, kind: str, name: str, config: Fields) -> Fields:
    """Return a filter that is passed over unless one of our cookies is in ``header``."""
    value: Fields = {"safe_regex": {"google_re2": {}, "regex": _ANYWHERE}}
    is_ours: Fields = {
        "single_predicate": {
            "input": {"name": header, "typed_config": pack(kind, {"header_name": header})},
            "value_match": value,
        },
    }
    skip: Fields = {
        "name": "skip",
        "typed_config": pack("envoy.extensions.filters.common.matcher.action.v3.SkipFilter", {}),
    }
    matcher: Fields = {"predicate": {"not_matcher": is_ours}, "on_match": {"action": skip}}
    return {
        "name": name,
        "typed_config": pack(
            "envoy.extensions.common.matching.v3.ExtensionWithMatcher",
            {
                "extension_config": {"name": name, "typed_config": config},
                "xds_matcher": {"matcher_list": {"matchers": [matcher]}},
            },
        ),
    }
