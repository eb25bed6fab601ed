"""The API: GraphQL, REST and server-sent events over the same service."""
