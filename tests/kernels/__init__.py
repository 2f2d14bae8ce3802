"""The end-to-end tests on Debian's kernels, each in a virtual machine: `make test-kernels`, docs/kernels.md."""
