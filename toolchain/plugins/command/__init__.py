"""An offline stand-in for Pulumi's command plugin 1.2.1: remote.Command, remote.CopyToRemote, local.Command,
local.run. Remote commands go through OpenSSH, many over one connection (ControlMaster)."""
