"""Tests of ``celadon.client``."""
