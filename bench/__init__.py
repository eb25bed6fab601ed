"""Benches: each prints a table and, with ``--json``, JSON; ratios are taken in one run."""
