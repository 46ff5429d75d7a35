"""W&B's `apis`, as far as annotations and checks of types in scripts use it."""
