"""Flags and fields that follow from the rest of the configuration, and so cannot be set beside it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from jarvis.config.types import Place

if TYPE_CHECKING:
    from jarvis.config.environment import Environment

_DATA = "the member's data is where Jarvis puts, protects and restores it"
_KEYS = "certificates and keys are made and renewed by Jarvis, at paths of its own"
_PLACE = "others reach it where Jarvis says: addresses and ports follow from servers and networks"
_NAMES = "members and users are known by names that Jarvis gives"
_NETWORKS = "it follows from networks"
_ACCESS = "who may do what follows from certificates that Jarvis makes"
_FILE = "the file is Jarvis'"

# Names that Jarvis sets, as regular expressions of the whole name, each with its reason; by path of the
# field.
_CONTROLLERS = {
    r"(authentication-|authorization-)?kubeconfig|root-ca-file|service-account-private-key-file": _KEYS,
    r"cluster-signing-.*|client-ca-file|requestheader-.*": _KEYS,
    r"cert-dir|tls-cert-file|tls-private-key-file|tls-sni-cert-key": _KEYS,
    r"bind-address|secure-port|permit-.*-sharing": _PLACE,
    r"leader-elect": "each server of the control plane has one, of which one may lead",
    r"config": _FILE,
}
OWNED: Mapping[tuple[str, str], Mapping[str, str]] = {
    ("etcd", "flags"): {
        r"data-dir|wal-dir": _DATA,
        r"name|initial-(?!election).*|discovery.*|force-new-cluster|strict-reconfig-check": _NAMES,
        r"(listen|advertise)-.*-urls": _PLACE,
        r"(peer-|client-)?(cert-file|key-file|trusted-ca-file|client-cert-auth|auto-tls|crl-file)": _KEYS,
        r"(peer-)?cert-allowed-.*|peer-client-(cert-file|key-file|cert-auth)": _KEYS,
        r"config-file": "etcd would heed no other flag (etcd --help)",
        r"unsafe-no-fsync": "what etcd acknowledged would be lost with the power",
    },
    ("kubernetes", "apiserver_flags"): {
        r"advertise-address|bind-address|secure-port|permit-.*-sharing": _PLACE,
        r"etcd-(servers|servers-overrides|cafile|certfile|keyfile|prefix)|storage-backend": _KEYS,
        r"tls-(cert|private-key)-file|cert-dir|client-ca-file|encryption-provider-config": _KEYS,
        r"kubelet-(certificate-authority|client-certificate|client-key|preferred-address-types)": _KEYS,
        r"proxy-client-(cert|key)-file|requestheader-.*": _KEYS,
        r"service-account-(issuer|key-file|signing-key-file|signing-endpoint)": _KEYS,
        r"service-cluster-ip-range": _NETWORKS,
        r"authorization-(mode|config|policy-file)|anonymous-auth": _ACCESS,
        r"admission-control-config-file|audit-policy-file|audit-log-path": _FILE,
        r"allow-privileged": "the pods of the network need it",
    },
    ("kubernetes", "controller_manager_flags"): {
        **_CONTROLLERS,
        r"allocate-node-cidrs|cluster-cidr|service-cluster-ip-range|node-cidr-mask-size.*": _NETWORKS,
        r"cluster-name|use-service-account-credentials": _NAMES,
    },
    ("kubernetes", "scheduler_flags"): _CONTROLLERS,
    ("kubernetes", "kubelet"): {
        r"apiVersion|kind": _FILE,
        r"authentication\.(anonymous\.enabled|webhook\.enabled|x509\..*)|authorization\.mode": _ACCESS,
        r"tlsCertFile|tlsPrivateKeyFile|serverTLSBootstrap|rotateCertificates": _KEYS,
        r"address|port|healthzPort|healthzBindAddress|enableServer": _PLACE,
        r"readOnlyPort": "it would answer anybody, without a certificate",
        r"containerRuntimeEndpoint|imageServiceEndpoint|cgroupDriver": "containerd is where Jarvis runs it",
        r"clusterDNS|clusterDomain|podCIDR": _NETWORKS,
    },
    ("kubernetes", "kube_proxy"): {
        r"apiVersion|kind": _FILE,
        r"clientConnection\.kubeconfig": _KEYS,
        r"clusterCIDR|detectLocalMode|hostnameOverride": _NETWORKS,
        r"healthzBindAddress": _PLACE,
    },
    ("database", "options"): {
        r"datadir": _DATA,
        r"bind_address|port|skip_networking": _PLACE,
        r"require_secure_transport|tls_version|ssl_(ca|cert|key|cipher)": _KEYS,
        r"wsrep_(on|provider|provider_options|cluster_name|cluster_address|node_name|node_address)": _NAMES,
        r"wsrep_sst_(method|auth)": _NAMES,
        r"innodb_buffer_pool_size": "it is database.buffer_pool_mib",
    },
    ("storage", "options"): {
        r"fsid|mon_host|mon_initial_members": _NAMES,
        r"public_addr|cluster_addr|public_network|cluster_network|ms_bind_msgr[12]": _PLACE,
        r"ms_.*_mode|auth_.*_required|auth_allow_.*|keyring|key|keyfile": _ACCESS,
        r"osd_pool_default_(min_)?size": "it is storage.copies",
        r"osd_memory_target": "it is storage.osd_memory_mib",
        r"(mon|mgr|osd)_data|osd_objectstore|bluestore_block.*": _DATA,
    },
}


def owned(env: Environment) -> Iterator[tuple[Place, str]]:
    """Flags, fields and options of ``env`` that Jarvis sets itself, one sentence for each."""
    for (section, name), table in OWNED.items():
        given: Mapping[str, Any] = getattr(getattr(env, section), name)
        for place in _places(given):
            why = reason(table, place)
            if why:
                yield (section, name, *place), f"Jarvis sets this itself, since {why}: remove it"


def reason(table: Mapping[str, str], place: tuple[str, ...]) -> str:
    """Why Jarvis sets a name itself; empty where the operator may.

    MariaDB and Ceph accept names with - and with _, and Ceph with blanks.

    Args:
        table: regular expressions of whole names, each with its reason.
        place: the name, in parts.
    """
    name = ".".join(place)
    spellings = (name, name.replace("-", "_").replace(" ", "_"))
    return next(
        (why for form, why in table.items() if any(re.fullmatch(form, spelling) for spelling in spellings)),
        "",
    )


def _places(given: Mapping[str, Any], at: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for name, value in given.items():
        if isinstance(value, dict) and value:
            yield from _places(value, (*at, name))
        else:
            yield (*at, name)
