"""What people are told of rollouts: written with the fact, delivered by the courier."""
