#!/usr/bin/env bash
# The first real cluster: installs everything, publishes a survey on it, kills its pod half-way, and sees it finished.
# Nobody has run this yet. It needs kubectl and helm with a cluster's rights, envsubst, and the environment of
# infra/env.example; PREFECT_API_AUTH_STRING and DATABASE_URL (postgresql+asyncpg://…) for the two secrets.
set -euo pipefail
cd "$(dirname "$0")"

: "${SEISMILL_NAMESPACE:?}" "${SEISMILL_IMAGE:?}" "${PREFECT_API_AUTH_STRING:?}" "${DATABASE_URL:?}"
kube() { kubectl --namespace "$SEISMILL_NAMESPACE" "$@"; }
# The server asks for the password of its API also inside of its pod; it goes there by standard input, which no list of
# processes shows.
in_server() {
  printf '%s\n' "$PREFECT_API_AUTH_STRING" | kube exec -i deploy/prefect-server -- sh -c '
    read -r PREFECT_API_AUTH_STRING && export PREFECT_API_AUTH_STRING PREFECT_API_URL=http://127.0.0.1:4200/api
    exec "$@"' sh "$@"
}

echo "== namespace, identity, network"
envsubst <namespace.yaml | kubectl apply -f -
envsubst <network.yaml | kubectl apply -f -
kube create secret generic prefect-auth --from-literal=auth-string="$PREFECT_API_AUTH_STRING" --dry-run=client -o yaml | kube apply -f -
kube create secret generic prefect-database --from-literal=connection-string="$DATABASE_URL" --dry-run=client -o yaml | kube apply -f -

echo "== server and worker"
helm repo add prefect https://prefecthq.github.io/prefect-helm >/dev/null
for part in server worker; do
  envsubst <"$part.values.yaml" | helm upgrade --install "prefect-$part" "prefect/prefect-$part" \
    --namespace "$SEISMILL_NAMESPACE" --values - --wait --timeout 10m
done

echo "== pools, deployments, automations"
kube run register --rm -i --restart=Never --image="$SEISMILL_IMAGE" --overrides="$(cat <<JSON
{"spec": {"securityContext": {"runAsNonRoot": true, "runAsUser": 1000, "fsGroup": 1000, "seccompProfile": {"type": "RuntimeDefault"}},
  "containers": [{"name": "register", "image": "$SEISMILL_IMAGE", "args": ["seismill", "register", "kubernetes"],
    "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}},
    "env": [{"name": "PREFECT_API_URL", "value": "http://prefect-server:4200/api"},
      {"name": "PREFECT_API_AUTH_STRING", "valueFrom": {"secretKeyRef": {"name": "prefect-auth", "key": "auth-string"}}},
      {"name": "SEISMILL_IMAGE", "value": "$SEISMILL_IMAGE"}, {"name": "SEISMILL_NAMESPACE", "value": "$SEISMILL_NAMESPACE"},
      {"name": "SEISMILL_ALLOW", "value": "${SEISMILL_ALLOW:?}"}, {"name": "SEISMILL_DASK", "value": "${SEISMILL_DASK:-}"},
      {"name": "SEISMILL_STAGING_RUNS", "value": "${SEISMILL_STAGING_RUNS:-20}"},
      {"name": "SEISMILL_AZURE_ACCOUNT", "value": "${SEISMILL_AZURE_ACCOUNT:-}"},
      {"name": "SEISMILL_NOTIFY", "value": "${SEISMILL_NOTIFY:-}"}, {"name": "SEISMILL_LOGS", "value": "${SEISMILL_LOGS:-}"},
      {"name": "SEISMILL_PRICES", "value": "${SEISMILL_PRICES:-}"},
      {"name": "SEISMILL_STAGING", "value": "${SEISMILL_STAGING:?}"}, {"name": "SEISMILL_VOLUMES", "value": "${SEISMILL_VOLUMES:?}"}]}]}}
JSON
)" --labels=app.kubernetes.io/component=run

echo "== a run, evicted half-way"
survey=${SMOKE_SOURCE:?a SEG-Y of some GB under SEISMILL_STAGING}
volume=$SEISMILL_VOLUMES/smoke-$(date +%s).zarr
run=$(in_server prefect deployment run publish/publish-kubernetes-s -p "source=$survey" -p "volume=$volume" | grep -oE '[0-9a-f-]{36}' | head -1)
kube wait --for=condition=Ready pod -l "prefect.io/flow-run-id=$run" --timeout 10m
sleep 30
kube delete pod -l "prefect.io/flow-run-id=$run" --wait=false
for _ in $(seq 120); do
  state=$(in_server prefect flow-run inspect "$run" | grep -oE "state_name='[A-Za-z]+'" | head -1)
  echo "$state"
  case $state in *Completed*) echo "all well: $volume"; exit 0 ;; *Failed* | *Cancelled* | *GaveUp*) exit 1 ;; esac
  sleep 10
done
echo "the run did not end within 20 minutes" >&2
exit 1
