#!/bin/sh
# Publish one survey's bytes as samples of every format, so that the image holds the kernels of each: a container with a
# read-only root would compile them at every start, some 6 CPU seconds for a format.
set -eu
folder=$(mktemp -d)
python3 -c "import sys; from tasks.demo import make_survey; make_survey(sys.argv[1], shape=(9, 8, 504))" "$folder/a.sgy"
for format in int8:2016 uint8:2016 int16:1008 uint16:1008 int24:672 uint24:672 int32:504 uint32:504 float32:504 \
  int64:252 uint64:252 float64:252; do
  volume=$folder/${format%:*}.zarr
  seismill publish "$folder/a.sgy" "$volume" --no-flow --no-report --sample-format "${format%:*}" \
    --samples-per-trace "${format#*:}"
  seismill verify "$volume" --errors
done
rm -r "$folder"
