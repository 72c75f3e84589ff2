#!/usr/bin/env bash
# Trains a LoRA on a folder of pictures as a client of the Stable Diffusion AWS extension API does: data set, pictures,
# training, and its end. Needs curl only.
# Usage: EASEL_URL=… EASEL_API_KEY=… examples/demo/train.sh FOLDER PROMPT NAME
# The result is called NAME.safetensors. From the environment: MODEL, STEPS, RANK, RATE, RESOLUTION, PATIENCE (seconds).
set -euo pipefail
folder=$1
prompt=$2
name=$3
api() { curl -sS --fail-with-body --max-time 60 -H "x-api-key: $EASEL_API_KEY" "$@"; }
# field NAME: the first string value of that name in the JSON on standard input.
field() { sed -n "s/.*\"$1\" *: *\"\([^\"]*\)\".*/\1/p" | head -1; }

shopt -s nullglob nocaseglob
files=("$folder"/*.png "$folder"/*.jpg "$folder"/*.jpeg "$folder"/*.webp)
[ ${#files[@]} -gt 0 ] || { echo "error: no pictures (png, jpg, webp) in $folder" >&2; exit 1; }
content=
for file in "${files[@]}"; do
  base=$(basename "$file")
  content+="${content:+, }{\"filename\": \"$base\", \"name\": \"$base\", \"type\": \"image\"}"
done
made=$(api -X POST "$EASEL_URL/dataset" -d "{\"dataset_name\": \"$name-data\", \"params\": {}, \"content\": [$content]}")
for file in "${files[@]}"; do
  url=$(field "$(basename "$file" | sed 's/[.[*^$]/\\&/g')" <<<"$made")
  curl -sS --fail --max-time 600 -o /dev/null -T "$file" "$url"
done
api -o /dev/null -X PUT "$EASEL_URL/dataset" -d "{\"dataset_name\": \"$name-data\", \"status\": \"Enabled\"}"
echo "${#files[@]} pictures are in the data set $name-data"

escaped=${prompt//\\/\\\\}
job=$(api -X POST "$EASEL_URL/train" -d "{
  \"train_type\": \"Lora\", \"model_id\": \"${MODEL:-easel-demo.safetensors}\",
  \"params\": {
    \"training_params\": {\"model_name\": \"$name\", \"data_tar_list\": [\"$name-data\"]},
    \"config_params\": {\"instance_prompt\": \"${escaped//\"/\\\"}\", \"max_train_steps\": ${STEPS:-200},
      \"lora_unet_rank\": ${RANK:-8}, \"lora_learning_rate\": ${RATE:-0.001}, \"resolution\": ${RESOLUTION:-64}}}}")
id=$(field id <<<"$job")
[ -n "$id" ] || { echo "error: the reply had no id: $job" >&2; exit 1; }
api -o /dev/null -X PUT "$EASEL_URL/train" -d "{\"train_job_id\": \"$id\", \"status\": \"Training\"}"
echo "train job $id began"

for _ in $(seq $((${PATIENCE:-3600} / 3))); do
  # One record a line: the list is an array of flat objects.
  record=$(api "$EASEL_URL/trains" | sed 's/},{/}\n{/g' | grep "\"id\":\"$id\"" || true)
  case $(field status <<<"$record") in
    Complete) echo "$name.safetensors is trained"; exit 0 ;;
    Fail) echo "error: $record" >&2; exit 1 ;;
  esac
  sleep 3
done
echo "error: train job $id has not ended: $record" >&2
exit 1
