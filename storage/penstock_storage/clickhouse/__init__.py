"""ClickHouse over HTTP: the client, the Native format, the schema, and tier statements."""
