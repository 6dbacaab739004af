# The service and its workers in one image. The service itself imports no torch; workers do.
FROM python:3.12-slim
WORKDIR /spezia
COPY constraints.txt pyproject.toml README.md LICENSE ./
COPY migrations migrations
COPY spezia spezia
COPY service service
COPY trainer trainer
RUN pip install --no-cache-dir --constraint constraints.txt ".[demo,postgres]" && useradd --create-home spezia \
    && mkdir /data /keys && chown spezia /data /keys && chmod 700 /keys
USER spezia
ENV SPEZIA_HOME=/data
ENTRYPOINT ["spezia"]
CMD ["serve", "--workers", "0"]
