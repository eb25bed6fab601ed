"""What gateways write of routers, and what they read to tell them."""
