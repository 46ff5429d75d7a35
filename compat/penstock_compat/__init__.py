"""Other trackers' protocols, translated to Penstock's batches, catalog and blobs."""
