"""Tests of celadon/table/core."""
