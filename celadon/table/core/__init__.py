"""What every room of the table needs: models and migrations, connections, locks, the clock, notifications, outages."""
