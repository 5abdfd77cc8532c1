#!/bin/sh
# Write what app.conf includes, from the environment, into the folder NGINX_RUN_DIR.
#
#   render.sh
#
# docs/proxy.md names the variables.
set -eu
umask 077
cd "${NGINX_RUN_DIR:-/tmp/nginx}"

fit() { # fit NAME VALUE: refuse a value that could end the word that it is written into
  case $2 in
    '' | *[!][A-Za-z0-9._:/+=-]*) echo "render.sh: $1 is empty or NGINX would misread it" >&2 ;;
    *) return 0 ;;
  esac
  exit 1
}
constant() { # constant VARIABLE VALUE: a variable of NGINX that is always the same
  fit "\$$1" "$2"
  printf "map '' \$%s { default '%s'; }\n" "$1" "$2"
}
listening() { # listening PORT WORDS
  printf 'listen %s:%s;\n' "$bind" "$*"
}

secret_file=${PROXY_SECRET_FILE:-/run/secrets/proxy_secret}
constant secret_of_proxy "${PROXY_SECRET:-$(cat "$secret_file")}" >proxy_secret.conf
{
  constant api_upstream "${API_UPSTREAM:-127.0.0.1:8000}"
  constant hot_upstream "${HOT_UPSTREAM:-127.0.0.1:8000}"
  constant streamlit_upstream "${STREAMLIT_UPSTREAM:-127.0.0.1:8501}"
  constant public_url "${PUBLIC_URL:-http://localhost:8080}"
  # A restarted container has a new address: names are looked up again while NGINX runs.
  sed -n 's/^nameserver  *\([0-9.]*\)$/resolver \1 valid=5s;/p' /etc/resolv.conf | head -n 1
  printf "geo \$realip_remote_addr \$peer_trusted {\ndefault '';\n"
  for range in ${TRUSTED_PROXIES:-}; do fit TRUSTED_PROXIES "$range" && echo "$range 1;"; done
  echo '}'
  for range in ${TRUSTED_PROXIES:-}; do echo "set_real_ip_from $range;"; done
} >settings.conf

bind=${BIND_ADDRESS:-127.0.0.1} http_port=${HTTP_PORT:-8080}
case $bind in *:*) bind="[$bind]" ;; esac
site=${SITE_ADDRESS:-http://localhost:$http_port}
fit SITE_ADDRESS "$site"
name=${site#*://}
port=${name##*:}
[ "$port" != "$name" ] || port=
echo "server_name ${name%:*};" >site.conf
listening "$http_port" default_server >others.conf
if [ "$site" = "${site#https:}" ]; then listening "${port:-$http_port}" >>site.conf && exit; fi

port=${port:-${HTTPS_PORT:-8443}}
echo "ssl_certificate ${TLS_CERTIFICATE:-/run/secrets/tls_certificate};" >>site.conf
echo "ssl_certificate_key ${TLS_KEY:-/run/secrets/tls_key};" >>site.conf
{ listening "$port" ssl default_server && echo 'ssl_reject_handshake on;'; } >>others.conf
# Known from 1.25.1; the older spelling, a word of `listen`, is warned about from then on.
new='http2 on;' old=
if nginx -v 2>&1 | grep -qE '/1\.(1?[0-9]|2[0-4]|25\.0)([^0-9]|$)'; then new='' old=http2; fi
{ listening "$port" ssl $old && echo "$new"; } >>site.conf
