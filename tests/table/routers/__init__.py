"""Tests of celadon/table/routers."""
