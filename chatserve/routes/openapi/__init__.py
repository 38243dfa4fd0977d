"""The OpenAPI document and the schemas it is made of."""
