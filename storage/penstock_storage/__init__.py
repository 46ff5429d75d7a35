"""The three stores behind small protocols: points (ClickHouse SQL), catalog (SQLAlchemy), blobs."""
