#!/bin/bash
# Succeeds when the server of this container answers. It uses nothing but bash,
# so that nothing has to be installed.
#
#   healthcheck           asks /healthz: the process serves requests
#   healthcheck /readyz   asks whether its engines answer as well
set -euo pipefail
port="${NEXTBEST_LISTEN##*:}"
exec 3<>"/dev/tcp/127.0.0.1/${port:-8080}"
printf 'GET %s HTTP/1.0\r\nHost: localhost\r\n\r\n' "${1:-/healthz}" >&3
read -r -t 4 _ status _ <&3
[ "$status" = 200 ]
