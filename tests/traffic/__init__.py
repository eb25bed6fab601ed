"""Every kind of traffic that passes a router, through a switch, a switch back and a drain, on the real Envoy."""
