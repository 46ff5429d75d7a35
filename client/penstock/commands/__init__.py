"""The commands of `penstock` on the client's side."""
