"""Run search: filters, orders and fields over the config and summary of whole projects.

The catalog has them as JSON, which the supported databases cannot search fast and consistently. So
each process keeps them as columns (`table`), updated before every query (`index`); the last logged
values are read from the point store by key, and numpy does the rest.
"""
