"""Tests of celadon/table/replicas."""
