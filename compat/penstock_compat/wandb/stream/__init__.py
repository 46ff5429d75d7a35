"""The file stream: lines by number in, batches out, and an answer once they are stored."""
