"""The offline stand-in for pulumi-kubernetes: server-side apply through kubectl's connection."""
