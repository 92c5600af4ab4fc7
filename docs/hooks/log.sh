#!/bin/sh
# Appends every event to the file $1. Kept running: a line in, a verdict out.
while IFS= read -r event; do
  printf '%s\n' "$event" >> "$1"
  echo '{"verdict":"pass"}'
done
