"""Everything else that is read of runs: history, summaries, keys, media, console, exports, ledgers."""
