"""The client's GraphQL: a fixed set of documents, executed over nodes."""
