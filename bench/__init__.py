"""Benches: each prints a table and JSON; ratios are taken in one run."""
