"""Who runs replicas: processes on this machine, or endpoints that exist."""
