"""Invariants, searched: random stories of the product's own workflow on the real table."""
