"""The language of Celadon and its decisions: pure values and functions, without a clock, a network or a table."""
