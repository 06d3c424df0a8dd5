#!/bin/sh
# Fresh secrets for compose.yaml, in deploy/.env, which git does not see. What is there already stays: with another
# MAAS_SECRET no key would work any more.
set -eu
cd "$(dirname "$0")/.."
if [ -e .env ]; then
    echo "deploy/.env is there already; nothing was changed." >&2
    exit 1
fi
fresh() { head -c 36 /dev/urandom | base64 | tr -d '\n' | tr '+/' '-_'; }
umask 077
{
    echo "MAAS_SECRET=$(fresh)"
    echo "POSTGRES_PASSWORD=$(fresh)"
    echo "GRAFANA_PASSWORD=$(fresh)"
} >.env.new
mv .env.new .env
echo "deploy/.env has fresh secrets; keep a copy where secrets are kept." >&2
