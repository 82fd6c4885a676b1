from jarvis.host.ceph.member import run

run()
