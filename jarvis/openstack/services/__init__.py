"""What each service of OpenStack is, one file each; the catalogue has all of them."""
