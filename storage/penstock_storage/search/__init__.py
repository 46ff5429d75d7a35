"""Finding runs: filters, orders and fields over config and summary of whole projects.

What runs say lies in the catalog as JSON, which no database can search quickly and alike. So each
process keeps it as columns (`table`), brought up to date before every question (`index`), and the
last logged values are read from the point store key by key; numpy does the rest.
"""
