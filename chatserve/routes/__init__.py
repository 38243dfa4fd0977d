"""HTTP: paths, status codes, headers. Each module is one noun; `service` puts them together for `chatserve.app`."""
