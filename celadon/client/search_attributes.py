"""The search attributes of rollouts, registered before the first one starts."""

from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest, ListSearchAttributesRequest
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from celadon.domain.language.contracts import SEARCH_ATTRIBUTES


async def missing_search_attributes(client: Client) -> tuple[str, ...]:
    """Return what is not registered in the client's namespace.

    Raises:
        RPCError: Temporal refused, for example because there is no such namespace.

    """
    listed = await client.operator_service.list_search_attributes(
        ListSearchAttributesRequest(namespace=client.namespace),
    )
    return tuple(name for name in SEARCH_ATTRIBUTES if name not in listed.custom_attributes)


async def register_search_attributes(client: Client) -> tuple[str, ...]:
    """Register what is missing in the client's namespace; return what was.

    Raises:
        RPCError: Temporal refused, for example because the caller may not administer the namespace.

    """
    missing = await missing_search_attributes(client)
    if not missing:
        return ()
    try:
        await client.operator_service.add_search_attributes(
            AddSearchAttributesRequest(
                namespace=client.namespace,
                search_attributes=dict.fromkeys(missing, IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD),
            ),
        )
    except RPCError as error:
        if error.status is not RPCStatusCode.ALREADY_EXISTS:
            raise
    return missing
