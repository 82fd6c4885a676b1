"""Nodes of lost servers: removed from the cluster, and refused by it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pulumi

from jarvis.config import Environment, ServerRole
from jarvis.core.component import Component
from jarvis.kubernetes.identity import Identities
from jarvis.remote import LocalCheck, LocalCheckArgs


def node_user(server: str) -> str:
    """The user that the API knows the kubelet of ``server`` as."""
    return f"system:node:{server}"


def lost_nodes(env: Environment) -> list[str]:
    """Names of the lost nodes, in the configuration's order."""
    return [server.name for server in env.lost if ServerRole.WORKER in server.roles]


def authorization(nodes: Sequence[str], nobody: str) -> str:
    """The API server's AuthorizationConfiguration that refuses the kubelets of ``nodes`` everything.

    Kubernetes has no list of revoked certificates. So a webhook comes first that is asked for these users
    alone, that nobody answers, and whose silence means no. All other users are authorized as without it.
    https://kubernetes.io/docs/reference/access-authn-authz/authorization/#using-configuration-file-for-authorization

    Args:
        nodes: names of the nodes.
        nobody: path of the webhook's kubeconfig.
    """
    users = ", ".join(json.dumps(node_user(node)) for node in nodes)
    document: Mapping[str, Any] = {
        "apiVersion": "apiserver.config.k8s.io/v1",
        "kind": "AuthorizationConfiguration",
        "authorizers": [
            {
                "type": "Webhook",
                "name": "lost.jarvis.internal",
                "webhook": {
                    "timeout": "1s",
                    "authorizedTTL": "10s",
                    "unauthorizedTTL": "1m",
                    "subjectAccessReviewVersion": "v1",
                    "matchConditionSubjectAccessReviewVersion": "v1",
                    "failurePolicy": "Deny",
                    "connectionInfo": {"type": "KubeConfigFile", "kubeConfigFile": nobody},
                    "matchConditions": [{"expression": f"request.user in [{users}]"}],
                },
            },
            # The API server accepts no other names for these two.
            {"type": "Node", "name": "node"},
            {"type": "RBAC", "name": "rbac"},
        ],
    }
    return json.dumps(document, indent=2)


def nobody_kubeconfig() -> str:
    """A kubeconfig that leads to a local port where nobody listens (tcpmux, RFC 1078, is gone)."""
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "nobody", "cluster": {"server": "https://127.0.0.1:1/"}}],
        "users": [{"name": "nobody", "user": {}}],
        "contexts": [{"name": "nobody", "context": {"cluster": "nobody", "user": "nobody"}}],
        "current-context": "nobody",
    }
    return json.dumps(document, indent=2)


@dataclass(frozen=True, kw_only=True)
class ForgottenNodesArgs:
    """The nodes to remove.

    Attributes:
        nodes: their names.
        address: URL of the API.
        identities: certificates of the cluster, for the client.
    """

    nodes: Sequence[str]
    address: str
    identities: Identities


class ForgottenNodes(Component, token="kubernetes:ForgottenNodes"):
    """Removes the nodes of lost servers, and their pods, from the cluster.

    Controllers replace the pods elsewhere at once, and no DaemonSet waits for a lost node.

    Attributes:
        ready: the removal.
    """

    ready: pulumi.Resource

    def __init__(
        self, name: str, args: ForgottenNodesArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__(name, opts)
        identities = args.identities
        self.ready = LocalCheck(
            name,
            LocalCheckArgs(
                command="exec python3 jarvis/kubernetes/forget.py",
                stdin=pulumi.Output.json_dumps(
                    {
                        "address": args.address,
                        "nodes": list(args.nodes),
                        "authority": identities.authority.certificate,
                        "certificate": identities.admin.chain,
                        "key": identities.admin.key,
                    }
                ).apply(pulumi.Output.secret),
            ),
            self.child(),
        )
        self.register_outputs({})
