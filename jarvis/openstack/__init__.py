"""The services of OpenStack. ``service.py`` says how all of them are configured, migrated, probed and rolled;
each service is a file of its own beside it."""
