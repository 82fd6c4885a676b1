"""What every component shares: the base class and the naming of resources."""
