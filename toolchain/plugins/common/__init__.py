"""What the offline plugins share: the provider protocol, values, diffs, errors."""
