#!/usr/bin/env bash
# make model: a small real model on this machine, and the lines of configuration that use it. Ctrl-C ends it.
# MODEL=smollm2 (98 MB, answers) or qwen (491 MB, calls tools); MODEL_PORT=8080.
set -euo pipefail
cd "$(dirname "$0")/../tests/interop/local-model"

model=${MODEL:-smollm2}
port=${MODEL_PORT:-8080}
./fetch-model.sh server >/dev/null
file=$(./fetch-model.sh "$model")
cat <<LINES
Put this into the configuration, then \`chainbot config reload\` or start anew; \`chainbot model list\` shows it:

models:
  providers: { local: { kind: openai, base_url: "http://127.0.0.1:$port/v1" } }
  models: { home: { provider: local, model: local, context: 4096 } }

LINES
exec ./serve.py "$file" --port "$port" --threads "${MODEL_THREADS:-2}"
