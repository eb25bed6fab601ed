"""Tests of celadon/table/retention."""
