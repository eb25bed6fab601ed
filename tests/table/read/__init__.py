"""Tests of celadon/table/read."""
