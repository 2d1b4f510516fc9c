#!/bin/sh
# Remove from the environment $1 what no run reads: descriptions of hundreds of services of Google and AWS, older
# versions of Azure's API, tests of libraries.
set -eu
packages=$(echo "$1"/lib/python3.*/site-packages)
find "$packages/googleapiclient/discovery_cache/documents" -type f ! -name 'run.v*.json' -delete
# Stores, credentials, the pool ecs and the blocks of prefect-aws.
for service in "$packages"/botocore/data/*/; do
  case $(basename "$service") in
    batch | cloudformation | ec2 | ecs | glue | iam | lambda | logs | rds | s3 | secretsmanager | signin | sso | sso-oidc | sts) ;;
    *) rm -r "$service" ;;
  esac
done
# Each client names in models.py the versions that it uses unless told otherwise.
for version in "$packages"/azure/mgmt/resource/*/v20*/; do
  grep -q "from \.$(basename "$version")\.models" "$(dirname "$version")/models.py" || rm -r "$version"
done
find "$packages" -type d \( -name tests -o -name test \) ! -path '*/kopf/*' -prune -exec rm -rf {} +
find "$packages" -name '*.pyi' -delete
rm -f "$packages"/*__mypyc*.so.debug
