#!/bin/sh
# Run NGINX in the foreground, with its configuration written from the environment.
#
#   start.sh           run
#   start.sh check     only see whether NGINX accepts the configuration
#   start.sh reload    write it anew, and let the running NGINX take it over
#
# NGINX_RUN_DIR is the only folder that is written to.
set -eu
umask 077
here=$(cd "$(dirname "$0")" && pwd)
run_dir=${NGINX_RUN_DIR:-/tmp/nginx}
export PATH="$PATH:/usr/sbin"

mkdir -p "$run_dir"
"$here/render.sh"
unset PROXY_SECRET
cp "$here/app.conf" "$run_dir/app.conf"

# Without this, workers of a master that runs as root could not enter the folder.
user=
[ "$(id -u)" != 0 ] || user='user root;'

action=${1:-run}
set -- -p "$run_dir/" -c "$run_dir/app.conf" -e stderr
case $action in
  run) exec nginx "$@" -g "daemon off; $user" ;;
  check) exec nginx "$@" -t -q -g "$user" ;;
  reload) exec nginx "$@" -s reload -g "$user" ;;
  *) printf 'start.sh: %s is none of run, check and reload\n' "$action" >&2 && exit 1 ;;
esac
