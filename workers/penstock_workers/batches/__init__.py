"""From batches to rows: decode, name, fold; what is left out and why."""
