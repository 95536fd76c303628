"""The protocol-neutral core: no web, RPC, cluster or model framework is imported below this folder."""
