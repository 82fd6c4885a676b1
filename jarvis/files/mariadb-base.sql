-- Who may log in to a database server that serves nobody yet: root, through the socket, as the user root.
ALTER USER 'root'@'localhost' IDENTIFIED VIA unix_socket;
DROP USER IF EXISTS 'mysql'@'localhost';
DROP DATABASE IF EXISTS test;
