"""The check-up and its mends, on a real database, a real Temporal and real processes."""
