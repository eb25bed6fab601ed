"""The command line ``celadon``."""
