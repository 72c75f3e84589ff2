#!/usr/bin/env bash
# Uploads the pictures of a Dataset, each under its file's name, which is also its item's.
# Usage: EASEL_URL=… EASEL_API_KEY=… examples/training/upload.sh DATASET FILE…
set -euo pipefail
dataset=$1
shift
reply=$(mktemp)
trap 'rm -f "$reply"' EXIT
for file in "$@"; do
  url=$EASEL_URL/easel/v1/datasets/$dataset/items/$(basename "$file")
  code=$(curl -sS -o "$reply" -w '%{http_code}' -H "x-api-key: $EASEL_API_KEY" -T "$file" "$url")
  case $code in
    2??) ;;
    *) echo "error: upload of $file answered $code: $(cat "$reply")" >&2; exit 1 ;;
  esac
done
