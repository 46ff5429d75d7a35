"""HTTP for every server process: routes, bodies, errors, access, OpenAPI."""
