#!/usr/bin/env bash
# Builds kube-apiserver and kube-controller-manager 1.20.2 of Debian 12's source package `kubernetes` and puts them, with
# Debian's etcd, into one archive: tests/servers/kubernetes_build.sh ARCHIVE.tar.gz
# Needs Debian 12 with apt (no root: nothing is installed), 3 GB below TMPDIR, and 5 to 10 minutes of two cores.
set -euo pipefail

archive=$1
if ! grep -qs '^VERSION_CODENAME=bookworm' /etc/os-release || ! command -v apt-get >/dev/null; then
	echo "kube-apiserver is built of Debian 12's source package, on Debian 12 only; make $archive on one and copy it" >&2
	exit 1
fi
mirror=$(apt-get indextargets --format '$(REPO_URI) $(RELEASE) $(COMPONENT)' 'Created-By: Packages' |
	awk '$2 == "bookworm" && $3 == "main" { print $1; exit }')
if [ -z "$mirror" ]; then
	echo "apt knows no mirror with bookworm main: add one to /etc/apt/sources.list" >&2
	exit 1
fi

work=$(mktemp --directory --suffix=.kubernetes)
trap 'chmod -R u+w "$work"; rm -rf "$work"' EXIT
cd "$work"

# The machine's own lists stay as they are: they name no sources as a rule, and only root may change them.
mkdir -p apt/lists/partial apt/archives/partial
printf '%s\n' "deb $mirror bookworm main" "deb-src $mirror bookworm main" >apt/sources.list
apt=(apt-get -q -o "Dir::Etc::SourceList=$work/apt/sources.list" -o Dir::Etc::SourceParts=/dev/null
	-o "Dir::State::Lists=$work/apt/lists" -o "Dir::Cache=$work/apt" -o "APT::Sandbox::User=$(id -un)")
"${apt[@]}" update
"${apt[@]}" source --download-only kubernetes
"${apt[@]}" download golang-1.19-go golang-1.19-src etcd-server
for package in *.deb; do dpkg-deb --extract "$package" root; done

mkdir -p go/src/k8s.io/kubernetes
tar --extract --gzip --file kubernetes_*.orig.tar.gz --directory go/src/k8s.io/kubernetes --strip-components=1
cd go/src/k8s.io/kubernetes
export GOROOT=$work/root/usr/lib/go-1.19 GOPATH=$work/go GOCACHE=${GOCACHE:-$work/gocache} GO111MODULE=off CGO_ENABLED=0 GOFLAGS=
go="nice -n 10 $GOROOT/bin/go"

# The tarball lacks pkg/generated/openapi. Its own generator makes it, of the packages that its Makefile names.
$go build -o "$work/openapi-gen" ./vendor/k8s.io/kube-openapi/cmd/openapi-gen
packages=$(grep -RlE --include='*.go' '^// *\+k8s:openapi-gen=' cmd pkg plugin vendor/k8s.io/*/ |
	grep -v -e ^vendor/k8s.io/code-generator/ -e ^vendor/k8s.io/sample-apiserver/ |
	xargs -n1 dirname | sort -u | sed s,^,k8s.io/kubernetes/, | paste -sd,)
PATH=$GOROOT/bin:$PATH nice -n 10 "$work/openapi-gen" --logtostderr --input-dirs "$packages" \
	--output-package k8s.io/kubernetes/pkg/generated/openapi --output-file-base zz_generated.openapi \
	--go-header-file vendor/k8s.io/code-generator/hack/boilerplate.go.txt --report-filename "$work/violations"

flags="-s -w"
for package in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
	variable=k8s.io/kubernetes/vendor/$package
	flags="$flags -X $variable.gitVersion=v1.20.2 -X $variable.gitMajor=1 -X $variable.gitMinor=20"
done
$go build -p 2 -trimpath -ldflags "$flags" -o "$work/root/usr/bin/" ./cmd/kube-apiserver ./cmd/kube-controller-manager

mkdir -p "$(dirname "$archive")"
tar --create --gzip --file "$archive.part" --directory "$work/root/usr/bin" etcd kube-apiserver kube-controller-manager
mv "$archive.part" "$archive"
