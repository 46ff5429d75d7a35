"""Redis in, store out: read, fold, commit, then free what was committed; and keep the tiers."""
