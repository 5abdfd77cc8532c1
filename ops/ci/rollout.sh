#!/usr/bin/env bash
# Bring the cluster to the images of a commit: secrets first, then the schema, then the processes.
#
#   ops/ci/rollout.sh             needs IMAGES="backend=HOST/NAME@sha256:... ..." and COMMIT
#
# OVERLAY names the manifests, else ops/k8s-overlays/production. Nothing here is undone when a step
# fails: the old processes go on until the new ones are ready.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

die() {
  printf 'rollout: %s\n' "$1" >&2
  exit 1
}
[[ "${COMMIT:-}" =~ ^[0-9a-f]{40}$ ]] || die "COMMIT must be a whole commit id"
overlay=${OVERLAY:-ops/k8s-overlays/production} namespace=informania release=${COMMIT:0:12}
rendered=$(mktemp)
trap 'rm --force "$rendered"' EXIT

# The documents of these kinds; or with "not" before them, all others.
only() {
  local but=
  if [[ $1 == not ]]; then but=1 && shift; fi
  awk -v RS='---\n' -v ORS='---\n' -v kinds=" $* " -v but="$but" \
    'match("\n" $0, /\nkind: [A-Za-z]+/) {
       kind = substr("\n" $0, RSTART + 7, RLENGTH - 7)
       if ((index(kinds, " " kind " ") > 0) != (but != "")) print
     }' "$rendered"
}
cluster() { kubectl --namespace "$namespace" "$@"; }
apply() { cluster apply --server-side --filename -; }

for image in ${IMAGES:?}; do
  [[ "$image" =~ ^[a-z]+=[^@]+@sha256:[0-9a-f]{64}$ ]] || die "$image is not NAME=IMAGE@DIGEST"
  (cd ops/k8s && kustomize edit set image "informania/$image")
done
# The migrate job takes its name from it.
sed --in-place "s|\(app.kubernetes.io/version:\).*|\1 \"$release\"|" ops/k8s/kustomization.yaml
kubectl kustomize "$overlay" >"$rendered"

only Namespace | kubectl apply --server-side --filename -
only SecretStore ServiceAccount ExternalSecret | apply
# Whoever rotated a secret since the last time gets the new one now.
cluster annotate externalsecret --all --overwrite "force-sync=$release-$(date +%s)"
cluster wait externalsecret --all --for=condition=Ready --timeout=180s

only not Deployment StatefulSet | apply
cluster wait "job/migrate-$release" --for=condition=Complete --timeout=1500s

only Deployment StatefulSet | apply
cluster rollout status deployment --timeout=600s
cluster rollout status statefulset --timeout=600s
