-- Who may log in to a new database, through the socket alone: root, and MariaDB's own system user, by whom a
-- member copies itself for another, tells its health, and begins the cluster again.
FLUSH PRIVILEGES;
ALTER USER 'root'@'localhost' IDENTIFIED VIA unix_socket;
CREATE USER IF NOT EXISTS 'mysql'@'localhost' IDENTIFIED VIA unix_socket;
ALTER USER 'mysql'@'localhost' IDENTIFIED VIA unix_socket;
REVOKE ALL PRIVILEGES, GRANT OPTION FROM 'mysql'@'localhost';
GRANT SUPER, RELOAD, PROCESS, LOCK TABLES, BINLOG MONITOR, REPLICA MONITOR ON *.* TO 'mysql'@'localhost';
DROP DATABASE IF EXISTS test;
