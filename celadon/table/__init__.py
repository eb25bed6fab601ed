"""The tables: one readable function a transaction, the lock and the guard visible in it."""
