"""GraphQL as the client speaks it: a fixed set of documents, walked over nodes."""
