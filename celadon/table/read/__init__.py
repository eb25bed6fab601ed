"""What queries return: nothing here writes."""
