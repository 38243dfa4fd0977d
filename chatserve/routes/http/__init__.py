"""What every route needs: reading requests, guards, problems. Knows no route."""
