"""The demonstration: a model server, an open-loop load, and three switches that must not lose a request."""
