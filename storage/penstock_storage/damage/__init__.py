"""Parts of the point store that were damaged or lost on disk: found, taken out, made good."""
