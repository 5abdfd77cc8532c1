#!/usr/bin/env bash
# Let kubectl reach the cluster as this very job of GitHub Actions; no credential is stored.
#
#   ops/ci/cluster_login.sh       writes KUBECONFIG, which only its owner reads
#
# CLOUD=kubernetes: the API server itself trusts GitHub's tokens.
#   CLUSTER_SERVER, CLUSTER_CA (base64), CLUSTER_AUDIENCE
# CLOUD=aws: the token becomes a short session of a role.
#   AWS_ROLE_ARN, AWS_REGION, CLUSTER_NAME
set -euo pipefail

die() {
  printf 'cluster_login: %s\n' "$1" >&2
  exit 1
}
need() {
  local name
  for name in "$@"; do [[ -n "${!name:-}" ]] || die "$name is not set"; done
}
# The token names this repository, this workflow and this environment, and lives some minutes.
id_token() {
  curl --silent --show-error --fail --header @- \
    "$ACTIONS_ID_TOKEN_REQUEST_URL&audience=$1" \
    <<<"Authorization: bearer $ACTIONS_ID_TOKEN_REQUEST_TOKEN" |
    python3 -c 'import json, sys; print(json.load(sys.stdin)["value"])'
}

need KUBECONFIG ACTIONS_ID_TOKEN_REQUEST_URL ACTIONS_ID_TOKEN_REQUEST_TOKEN
umask 077
mkdir --parents "$(dirname "$KUBECONFIG")"
case "${CLOUD:-kubernetes}" in
  kubernetes)
    need CLUSTER_SERVER CLUSTER_CA CLUSTER_AUDIENCE
    id_token "$CLUSTER_AUDIENCE" >"$KUBECONFIG.token"
    base64 --decode <<<"$CLUSTER_CA" >"$KUBECONFIG.ca"
    kubectl config set-cluster production --server="$CLUSTER_SERVER" \
      --certificate-authority="$KUBECONFIG.ca" --embed-certs=true
    kubectl config set users.deploy.tokenFile "$KUBECONFIG.token"
    kubectl config set-context production --cluster=production --user=deploy
    kubectl config use-context production
    ;;
  aws)
    need AWS_ROLE_ARN AWS_REGION CLUSTER_NAME AWS_WEB_IDENTITY_TOKEN_FILE
    id_token sts.amazonaws.com >"$AWS_WEB_IDENTITY_TOKEN_FILE"
    aws eks update-kubeconfig --name "$CLUSTER_NAME" --region "$AWS_REGION"
    ;;
  *) die "CLOUD=$CLOUD is unknown: use kubernetes or aws" ;;
esac
