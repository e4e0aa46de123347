"""kuma-dp, the data plane supervisor: joins a mesh and keeps an Envoy running."""
