"""What a worker knows of its shards of the queue: leases, reading in fair turns, and what it was doing when
it died."""
