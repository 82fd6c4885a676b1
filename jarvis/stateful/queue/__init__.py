"""RabbitMQ on the servers, and vhosts and accounts of services in it."""

from jarvis.stateful.queue.account import QueueAccount, QueueAccountArgs
from jarvis.stateful.queue.cluster import Queue, QueueArgs, queue_link

__all__ = ["Queue", "QueueAccount", "QueueAccountArgs", "QueueArgs", "queue_link"]
