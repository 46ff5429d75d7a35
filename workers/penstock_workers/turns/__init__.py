"""The steps of a turn of the worker's main loop, one noun each."""
