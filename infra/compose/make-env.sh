#!/bin/sh
# Makes .env beside compose.yaml with new secrets, readable by its owner only. Does nothing if it exists.
set -eu
umask 077
file="$(dirname "$0")/.env"
if [ -e "$file" ]; then
    echo "$file already exists: nothing changed" >&2
    exit 0
fi
secret() { od -An -N"$1" -tx1 /dev/urandom | tr -d ' \n'; }
cat > "$file" <<END
# Secrets of compose.yaml. Label Studio reads the first three at its first start only; later change them there.
LABEL_STUDIO_USERNAME=annotator@example.com
LABEL_STUDIO_PASSWORD=$(secret 9)
LABEL_STUDIO_API_KEY=$(secret 20)
LABELLOOP_BASIC_AUTH_PASSWORD=$(secret 16)
LABELLOOP_WEBHOOK_SECRET=$(secret 16)
AWS_ACCESS_KEY_ID=$(secret 10)
AWS_SECRET_ACCESS_KEY=$(secret 20)
END
echo "made $file, which has the login for Label Studio"
