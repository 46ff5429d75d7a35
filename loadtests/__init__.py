"""Load tests with locust: shapes of load over HTTP, each followed by its ledger."""
