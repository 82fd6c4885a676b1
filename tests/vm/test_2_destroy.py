"""`pulumi destroy` leaves the server as it was: what holds for boxes holds here, and swap is back."""

from __future__ import annotations

from deployment import Cloud
from test_9_destroy import (  # noqa: F401
    destroyed,
    test_no_file_is_left,
    test_no_port_is_open,
    test_no_process_is_left,
    test_no_unit_is_left,
    test_nothing_is_left_of_the_network,
    test_nothing_is_mounted,
    test_the_servers_names_lead_where_they_led_before,
    test_the_state_is_empty,
)


def test_swap_is_on_again(destroyed: Cloud) -> None:  # noqa: F811
    assert destroyed.ssh(destroyed.servers[0], "swapon --noheadings --show=NAME").split() == ["/dev/vdc"]


def test_the_storages_disk_is_empty(destroyed: Cloud) -> None:  # noqa: F811
    assert destroyed.ssh(destroyed.servers[0], "lsblk -no FSTYPE /dev/vdb").strip() == ""
