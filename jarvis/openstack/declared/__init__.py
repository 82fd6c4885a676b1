"""Objects of OpenStack that an environment declares: one file for each kind."""
