"""Commands: each module declares one as ``COMMAND``, and is found by the registry because it is here."""
