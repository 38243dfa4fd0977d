# chatserve in a small image that runs as nobody in particular.
#
#   docker build -t chatserve .
#   docker run -p 8000:8000 -v "$PWD/app.py:/app/app.py:ro" -v chats:/data chatserve
#
# Or build on it:  FROM chatserve
#                  COPY app.py .
# Host names other than localhost are answered when they are named: -e CHATSERVE_ALLOWED_HOSTS=chat.example.org
# Sessions live in /data/chatserve.db: keep that volume, and one container per volume.

FROM python:3.13-slim AS build
WORKDIR /source
COPY pyproject.toml README.md LICENSE ./
COPY chatserve chatserve
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels . \
 && python -m venv /opt/chatserve \
 && wheel=$(echo /wheels/chatserve-*.whl) \
 && /opt/chatserve/bin/pip install --no-cache-dir "$wheel[uploads]" \
 && /opt/chatserve/bin/pip uninstall --yes pip

FROM python:3.13-slim
COPY --from=build /opt/chatserve /opt/chatserve
RUN useradd --system --uid 10001 --home-dir /data --no-create-home chatserve \
 && install --directory --owner=chatserve --group=chatserve --mode=0700 /data
ENV PATH=/opt/chatserve/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    CHATSERVE_HOST=0.0.0.0 \
    CHATSERVE_PORT=8000 \
    CHATSERVE_STORE=sqlite:////data/chatserve.db
WORKDIR /app
USER chatserve
VOLUME /data
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s \
  CMD ["python", "-c", "import os, urllib.request as u; u.urlopen(f\"http://127.0.0.1:{os.environ['CHATSERVE_PORT']}/health/live\", timeout=2)"]
ENTRYPOINT ["chatserve"]
CMD ["run", "app.py"]
