#!/usr/bin/env bash
# Build, push or find one image of a commit, as the workflows do.
#
#   ops/ci/image.sh build NAME    the image with its bill of materials into .run/images/NAME.tar
#   ops/ci/image.sh push NAME     that file to REGISTRY/NAME, tagged COMMIT; prints the digest
#   ops/ci/image.sh digest NAME   prints the digest of REGISTRY/NAME for COMMIT, else fails
#
# NAME is backend, caddy, supertokens or streamlit. Building needs docker buildx, the others skopeo.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

die() {
  printf 'image: %s\n' "$1" >&2
  exit 1
}

verb=${1:-} name=${2:-}
case "$name" in
  backend) file=backend/Dockerfile target=runtime ;;
  caddy) file=ops/reverse-proxy/caddy/Dockerfile target= ;;
  supertokens) file=auth/supertokens/docker/Dockerfile target= ;;
  streamlit) file=ui/streamlit/Dockerfile target= ;;
  *) die "'$name' is no image of ours: use backend, caddy, supertokens or streamlit" ;;
esac
archive=.run/images/$name.tar

# The registry takes lower case only.
remote() {
  [[ -n "${REGISTRY:-}" && -n "${COMMIT:-}" ]] || die "REGISTRY and COMMIT must be set"
  printf 'docker://%s/%s:%s' "${REGISTRY,,}" "$name" "$COMMIT"
}

case "$verb" in
  build)
    mkdir --parents .run/images
    # Bills of materials and provenance need a builder in a container of its own.
    docker buildx inspect informania >/dev/null 2>&1 ||
      docker buildx create --name informania --driver docker-container >/dev/null
    docker buildx build --builder informania --pull --file "$file" ${target:+--target "$target"} \
      --sbom=true --provenance=mode=max --output "type=oci,dest=$archive" .
    ;;
  push)
    [[ -f "$archive" ]] || die "$archive is not there: build it first"
    skopeo copy --quiet --all --authfile "${HOME:?}/.docker/config.json" \
      --digestfile "$archive.digest" "oci-archive:$archive" "$(remote)"
    cat "$archive.digest"
    ;;
  digest)
    manifest=$(mktemp)
    skopeo inspect --raw --authfile "${HOME:?}/.docker/config.json" "$(remote)" >"$manifest"
    skopeo manifest-digest "$manifest"
    ;;
  *) die "'$verb' is unknown: use build, push or digest" ;;
esac
