"""The components that make resources of services: data in, objects of Kubernetes and accounts out."""
