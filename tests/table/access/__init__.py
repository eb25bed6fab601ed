"""Tests of celadon/table/access."""
