"""Shapes of the kinds that operators bring, as far as we use them.

No schema of Kubernetes covers them and no package of the locked ones carries theirs, so these say
which fields we mean to set. They find a misspelling of ours, not a change of theirs.
"""

from typing import Any

Schema = dict[str, Any]

TEXT: Schema = {"type": "string", "minLength": 1}
TEXTS: Schema = {"type": "object", "additionalProperties": {"type": "string"}}
METADATA: Schema = {"type": "object", "required": ["name", "namespace"]}
NAME_ONLY: Schema = {"type": "object", "required": ["name"]}
QUANTITY: Schema = {"type": "string", "pattern": "^[0-9]+(m|Mi|Gi)?$"}


def exactly(required: dict[str, Schema], **optional: Schema) -> Schema:
    """Return the schema of an object that has these fields and no others."""
    return {
        "type": "object",
        "required": list(required),
        "properties": {**required, **optional},
        "additionalProperties": False,
    }


def kind(spec: Schema, metadata: Schema = METADATA) -> Schema:
    """Return the schema of a whole object."""
    return exactly({"apiVersion": TEXT, "kind": TEXT, "metadata": metadata, "spec": spec})


def each(items: Schema) -> Schema:
    """Return the schema of a list that is not empty."""
    return {"type": "array", "minItems": 1, "items": items}


EXTERNAL_SECRET = exactly(
    {
        "refreshInterval": {"type": "string", "pattern": "^([0-9]+h)?([0-9]+m)?[0-9]+s$"},
        "secretStoreRef": exactly({"kind": {"const": "SecretStore"}, "name": TEXT}),
        "target": exactly({"name": TEXT}, template=exactly({"data": TEXTS}, type=TEXT)),
        "data": each(
            exactly(
                {
                    "secretKey": TEXT,
                    "remoteRef": exactly({"key": {"type": "string", "pattern": "^informania/"}}),
                }
            )
        ),
    }
)
VAULT = exactly(
    {
        "server": {"type": "string", "pattern": "^https://"},
        "path": TEXT,
        "version": {"enum": ["v1", "v2"]},
        "auth": exactly(
            {
                "kubernetes": exactly(
                    {"mountPath": TEXT, "role": TEXT, "serviceAccountRef": exactly({"name": TEXT})}
                )
            }
        ),
    }
)
SECRET_STORE = exactly({"provider": exactly({"vault": VAULT})})
SECRET_PROVIDER_CLASS = exactly(
    {
        "provider": {"const": "vault"},
        "parameters": exactly({"vaultAddress": TEXT, "roleName": TEXT, "objects": TEXT}),
    }
)
INITDB = exactly(
    {
        "database": TEXT,
        "owner": TEXT,
        "dataChecksums": {"const": True},
        "encoding": {"const": "UTF8"},
        "localeProvider": {"const": "builtin"},
        "builtinLocale": {"const": "C.UTF-8"},
        "localeCollate": TEXT,
        "localeCType": TEXT,
    }
)
ADDITIONAL_SERVICE = exactly(
    {
        "selectorType": {"enum": ["rw", "r", "ro"]},
        "serviceTemplate": exactly({"metadata": exactly({"name": TEXT})}),
    }
)
POSTGRESQL = exactly(
    {
        "synchronous": exactly(
            {
                "method": {"enum": ["any", "first"]},
                "number": {"type": "integer", "minimum": 1},
                "dataDurability": {"const": "required"},
            }
        ),
        "parameters": TEXTS,
    }
)
RESOURCES = exactly(
    {
        "requests": exactly({"cpu": QUANTITY, "memory": QUANTITY}),
        "limits": exactly({"memory": QUANTITY}),
    }
)
CLUSTER = exactly(
    {
        "instances": {"type": "integer", "minimum": 3},
        "imageName": TEXT,
        "inheritedMetadata": exactly({"labels": TEXTS}),
        "enableSuperuserAccess": {"const": True},
        "superuserSecret": exactly({"name": TEXT}),
        "bootstrap": exactly({"initdb": INITDB}),
        "managed": exactly({"services": exactly({"additional": each(ADDITIONAL_SERVICE)})}),
        "postgresql": POSTGRESQL,
        "storage": exactly({"size": QUANTITY}),
        "walStorage": exactly({"size": QUANTITY}),
        "affinity": exactly(
            {
                "enablePodAntiAffinity": {"const": True},
                "topologyKey": TEXT,
                "podAntiAffinityType": {"enum": ["preferred", "required"]},
            }
        ),
        "resources": RESOURCES,
    }
)

SCHEMAS: dict[tuple[str, str], Schema] = {
    ("external-secrets.io/v1", "ExternalSecret"): kind(EXTERNAL_SECRET),
    ("external-secrets.io/v1", "SecretStore"): kind(SECRET_STORE),
    ("secrets-store.csi.x-k8s.io/v1", "SecretProviderClass"): kind(
        SECRET_PROVIDER_CLASS, NAME_ONLY
    ),
    ("postgresql.cnpg.io/v1", "Cluster"): kind(CLUSTER),
}
