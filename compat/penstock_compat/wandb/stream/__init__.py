"""The file stream: receives numbered lines, queues batches, and answers once they are stored."""
