"""The keeper owns replicas: it starts, adopts, probes, replaces and stops them."""
