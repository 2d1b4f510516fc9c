#!/bin/sh
# What the build compiled lies in the image, where a read-only root lets nobody add to it; numba and Matplotlib want to
# write beside it. So it is copied to the writable mount, unless an earlier start did.
set -eu
for part in numba matplotlib; do
  if [ ! -e "/var/lib/seismill/$part" ]; then
    cp -r "/opt/seismill/baked/$part" "/var/lib/seismill/$part.partial.$$"
    mv -T "/var/lib/seismill/$part.partial.$$" "/var/lib/seismill/$part" 2>/dev/null || rm -rf "/var/lib/seismill/$part.partial.$$"
  fi
done
# Prefect's own lines, as those of our runs.
if [ "${SEISMILL_LOGS:-}" = json ]; then
  export PREFECT_LOGGING_HANDLERS_CONSOLE_CLASS=flows.json_logs.JsonConsole
fi
exec "$@"
