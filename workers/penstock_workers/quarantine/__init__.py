"""Which batches and writers fail, how they are found and kept apart, and how they come back."""
