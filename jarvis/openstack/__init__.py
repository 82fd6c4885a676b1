"""The services of OpenStack.

- ``services``: what each service is, as data, one file each.
- ``model.py``: what a service may say of itself; ``catalogue.py``: all services, and what follows from them.
- ``build``: the components that make resources of it.
"""

# The configuration has a section for each service and so imports the catalogue, which imports types of the
# configuration: it works from this end alone.
import jarvis.config  # noqa: F401
