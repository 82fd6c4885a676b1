#!/bin/bash
# Waits until Ceph is whole, and prints its health. The arguments say for what it is asked: when they change, it is
# asked again.
set -euo pipefail
exec /var/lib/jarvis/bin/ceph-member health
