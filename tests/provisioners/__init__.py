"""Tests of the provisioners."""
