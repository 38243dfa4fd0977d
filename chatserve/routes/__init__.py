"""HTTP: paths, status codes, headers. One module per kind of resource; `service` assembles them for `chatserve.app`."""
