"""Tests of ``celadon.api``."""
