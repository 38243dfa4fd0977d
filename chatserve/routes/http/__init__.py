"""What every route needs: reading requests, guards, problem documents. Knows no route."""
