"""The HTTP server: app, routes, request guard, connection limits."""
