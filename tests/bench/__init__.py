"""Each bench in its smallest size, so that none rots; speeds are never judged."""
