#!/bin/sh
# Blocks whatever its rule matches. $1: what Claude is told, without quotes or backslashes.
cat > /dev/null
printf '{"verdict":"block","reason":"%s"}\n' "$1"
