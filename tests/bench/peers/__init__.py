"""The same work of one server role, done by Jarvis, by Ansible and by pyinfra, on the same servers."""
