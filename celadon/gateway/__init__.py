"""The gateway: tells routers (Envoy) what the table says, and the table what routers answer."""
