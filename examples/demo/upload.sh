#!/usr/bin/env bash
# Uploads a checkpoint to the Model of the same name.
# Usage: EASEL_URL=… EASEL_API_KEY=… examples/demo/upload.sh FILE.safetensors
set -euo pipefail
file=$1
name=$(basename "$file" .safetensors)
url=$EASEL_URL/easel/v1/models/$name/files/$(basename "$file")
code=$(curl -sS -o /tmp/easel-upload.$$ -w '%{http_code}' -H "x-api-key: $EASEL_API_KEY" -T "$file" "$url")
trap 'rm -f /tmp/easel-upload.$$' EXIT
case $code in
  2??) ;;
  *) echo "error: upload of $file answered $code: $(cat /tmp/easel-upload.$$)" >&2; exit 1 ;;
esac
