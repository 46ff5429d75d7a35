#!/usr/bin/env bash
# Installs the chart into a cluster of its own on this machine and tries what only an API server can show:
# `make kind-smoke`. Needs docker, kind, kubectl, helm and curl, and the image: REPOSITORY=penstock/penstock TAG=0.1.0.
# IP_FAMILY=ipv6 tries an IPv6-only cluster; KEEP=1 leaves the cluster.
#
# Small: install without values, log a run, upgrade, and read the run again from the same volume. Then the rendered
# objects of every overlay are sent to the API server without being stored.
set -euo pipefail
cd "$(dirname "$0")/.."

CLUSTER=${CLUSTER:-penstock-smoke}
REGISTRY=${REGISTRY:-}
REPOSITORY=${REPOSITORY:-penstock/penstock}
TAG=${TAG:-0.1.0}
NAMESPACE=penstock
CHART=deploy/helm/penstock
KUBECTL=(kubectl --context "kind-$CLUSTER")
HELM=(helm --kube-context "kind-$CLUSTER" --namespace "$NAMESPACE")
forward_pid=""

for program in docker kind kubectl helm curl; do
  command -v "$program" >/dev/null || { echo "kind-smoke needs $program" >&2; exit 2; }
done

finish() {
  [ -z "$forward_pid" ] || kill "$forward_pid" 2>/dev/null || true
  [ -n "${KEEP:-}" ] || kind delete cluster --name "$CLUSTER"
}
trap finish EXIT

step() { printf '\n== %s\n' "$*"; }

# Forwards port 18080 to the service until the next call.
forward() {
  [ -z "$forward_pid" ] || kill "$forward_pid" 2>/dev/null || true
  "${KUBECTL[@]}" --namespace "$NAMESPACE" port-forward service/penstock 18080:8080 >/dev/null &
  forward_pid=$!
  for _ in $(seq 60); do
    curl --silent --fail --output /dev/null http://127.0.0.1:18080/readyz && return
    sleep 1
  done
  echo "penstock does not answer through the forwarded port" >&2
  exit 1
}

exported_rows() {
  curl --silent --fail --header "Authorization: Bearer $1" \
    "http://127.0.0.1:18080/v1/runs/local/smoke/first/export" | tail -n +2 | wc -l
}

step "a cluster of two nodes"
kind create cluster --name "$CLUSTER" --wait 120s --config - <<EOF
kind: Cluster
apiVersion: kind.x-k8s.io/v1alpha4
networking: {ipFamily: ${IP_FAMILY:-dual}}
nodes: [{role: control-plane}, {role: worker}]
EOF
kind load docker-image --name "$CLUSTER" "$REPOSITORY:$TAG"
"${KUBECTL[@]}" create namespace "$NAMESPACE"
"${KUBECTL[@]}" label namespace "$NAMESPACE" pod-security.kubernetes.io/enforce=restricted
image=(--set "image.registry=$REGISTRY" --set "image.repository=$REPOSITORY" --set "image.tag=$TAG")

step "install without values"
"${HELM[@]}" install penstock "$CHART" "${image[@]}" --wait --timeout 5m
forward
key=$("${KUBECTL[@]}" --namespace "$NAMESPACE" exec penstock-0 -- cat /data/penstock/api_key)
curl --silent --fail --request POST --header "Authorization: Bearer $key" --header 'Content-Type: application/json' \
  --data '{"project": "smoke", "run": "first", "rows": [{"step": 0, "loss": 1.0}, {"step": 1, "loss": 0.5}]}' \
  'http://127.0.0.1:18080/v1/batches?wait=committed'
[ "$(exported_rows "$key")" = 2 ] || { echo "the rows are not there" >&2; exit 1; }

step "upgrade: another pod, the same volume"
before=$("${KUBECTL[@]}" --namespace "$NAMESPACE" get pod penstock-0 --output 'jsonpath={.metadata.uid}')
"${HELM[@]}" upgrade penstock "$CHART" "${image[@]}" --set settings.PENSTOCK_LOG_LEVEL=DEBUG --wait --timeout 5m
after=$("${KUBECTL[@]}" --namespace "$NAMESPACE" get pod penstock-0 --output 'jsonpath={.metadata.uid}')
[ "$before" != "$after" ] || { echo "the pod was not replaced" >&2; exit 1; }
forward
[ "$(exported_rows "$key")" = 2 ] || { echo "the rows did not outlive the upgrade" >&2; exit 1; }

step "drain the node of the pod"
node=$("${KUBECTL[@]}" --namespace "$NAMESPACE" get pod penstock-0 --output 'jsonpath={.spec.nodeName}')
"${KUBECTL[@]}" drain "$node" --ignore-daemonsets --delete-emptydir-data --timeout 120s
"${KUBECTL[@]}" uncordon "$node"

step "the API server accepts what is rendered"
"${KUBECTL[@]}" apply --dry-run=server --kustomize deploy/kubernetes/overlays/small
# Kinds of operators that are not installed here can't be checked, so its exit status says nothing.
answers=$("${KUBECTL[@]}" apply --dry-run=server --kustomize deploy/kubernetes/overlays/production 2>&1) || true
printf '%s\n' "$answers"
if grep --quiet --extended-regexp 'is invalid|unknown field|denied|violates' <<<"$answers"; then exit 1; fi

step "uninstall: the volume stays"
"${HELM[@]}" uninstall penstock --wait
"${KUBECTL[@]}" --namespace "$NAMESPACE" get persistentvolumeclaim data-penstock-0

printf '\nkind-smoke: all steps passed\n'
