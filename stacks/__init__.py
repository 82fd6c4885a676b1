"""What an environment is made of: one short module for each kind of environment."""
