"""W&B's `sdk`, as far as annotations and checks of types in scripts use it."""
