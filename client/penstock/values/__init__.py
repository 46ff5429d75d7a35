"""Values of users' types as plain ones, without hanging or raising."""
