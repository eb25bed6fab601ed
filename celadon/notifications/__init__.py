"""Notifications on their way: claims deliveries that the table owes, and sends them to their targets."""
