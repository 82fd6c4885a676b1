"""What every component shares: its base class, objects of Kubernetes, credentials, protection, the SDK."""
