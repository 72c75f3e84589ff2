#!/usr/bin/env bash
# Asks for a picture as a client of the Stable Diffusion AWS extension API does: POST, poll, download.
# Usage: EASEL_URL=… EASEL_API_KEY=… examples/demo/generate.sh PROMPT [FOLDER]      Needs curl only.
set -euo pipefail
prompt=$1
folder=${2:-demo/out}
mkdir -p "$folder"
api() { curl -sS --fail-with-body --max-time 30 -H "x-api-key: $EASEL_API_KEY" "$@"; }
# field NAME: the first string value of that name in the JSON on standard input.
field() { sed -n "s/.*\"$1\" *: *\"\([^\"]*\)\".*/\1/p" | head -1; }

escaped=${prompt//\\/\\\\}
body="{\"task_type\": \"txt2img\", \"sagemaker_endpoint_name\": \"${ENDPOINT:-demo}\",
 \"models\": {\"Stable-diffusion\": [\"easel-demo.safetensors\"]}, \"prompt\": \"${escaped//\"/\\\"}\",
 \"width\": 64, \"height\": 64, \"steps\": ${STEPS:-25}, \"cfg_scale\": ${CFG:-4.0}, \"sampler_name\": \"${SAMPLER:-DPM++ 2M Karras}\", \"seed\": ${SEED:-1}}"
started=$(date +%s%N)
id=$(api -X POST "$EASEL_URL/inference-api/inference" -d "$body" | field inference_id)
[ -n "$id" ] || { echo "error: the reply had no inference_id" >&2; exit 1; }
status=inprogress
for _ in $(seq 600); do
  job=$(api "$EASEL_URL/inference/get-inference-job?jobID=$id")
  status=$(field status <<<"$job")
  [ "$status" = succeed ] && break
  [ "$status" = failed ] && { echo "error: job $id failed: $job" >&2; exit 1; }
  sleep 0.2
done
[ "$status" = succeed ] || { echo "error: job $id is still $status after two minutes" >&2; exit 1; }
milliseconds=$((($(date +%s%N) - started) / 1000000))
for url in $(api "$EASEL_URL/inference/get-inference-job-image-output?jobID=$id&format=png" | tr -d '[]" ' | tr , ' '); do
  name=${url%%\?*}
  curl -sS --fail --max-time 60 -o "$folder/$id-${name##*/}" "$url"
  echo "$folder/$id-${name##*/}   (${milliseconds} ms from POST to picture)"
done
