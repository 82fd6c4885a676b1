"""A member of the database's cluster, beside MariaDB itself."""
