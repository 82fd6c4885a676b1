from jarvis.host.database.member import run

run()
