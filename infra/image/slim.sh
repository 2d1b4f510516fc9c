#!/bin/sh
# Remove from the environment $1 what no run reads: descriptions of hundreds of Google services, tests of libraries.
set -eu
packages=$(echo "$1"/lib/python3.*/site-packages)
find "$packages/googleapiclient/discovery_cache/documents" -type f ! -name 'run.v*.json' -delete
find "$packages" -type d \( -name tests -o -name test \) \
  ! -path '*/numba/*' ! -path '*/kopf/*' -prune -exec rm -rf {} +
find "$packages" -name '*.pyi' -delete
rm -f "$packages"/*__mypyc*.so.debug
