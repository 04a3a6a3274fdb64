# The hosted demo (annotator serve --demo), without root, on a read-only root if you like:
#   docker build -t annotator-demo . && docker run --read-only --tmpfs /tmp --tmpfs /data:uid=1000 -p 7860:7860 annotator-demo
# Without another volume the visitors' spaces live in /data until the container ends.
FROM python:3.12-slim

# Further extras, such as cpu,metrics,telemetry,photos.
ARG EXTRAS=cpu
# torch's own wheels for the CPU are a tenth of those on PyPI, which bring CUDA along.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 PIP_NO_CACHE_DIR=1 OMP_NUM_THREADS=1
WORKDIR /opt/annotator
COPY pyproject.toml requirements.lock README.md LICENSE ./
COPY annotator annotator
COPY models models
COPY trainer trainer
COPY datasets datasets
RUN pip install --constraint requirements.lock --extra-index-url "$TORCH_INDEX" ".[$EXTRAS]"

# The exported network and the table of word vectors are made now: at run time nothing here is written to.
ENV XDG_CACHE_HOME=/opt/annotator/cache
RUN python -c "from annotator.datasets.demo_photos import demo_photos; print(demo_photos()[0][1])" > /tmp/photo \
 && annotator suggest "$(cat /tmp/photo)" \
 && python -c "from annotator.models.word_vectors.word_vectors import load_word_vectors; load_word_vectors()" \
 && rm /tmp/photo && chmod -R a+rX /opt/annotator/cache

RUN useradd --uid 1000 --no-create-home visitor && mkdir /data && chown visitor /data
USER visitor
WORKDIR /tmp
ENV DATA=/data HOME=/tmp MPLCONFIGDIR=/tmp/matplotlib PORT=7860
VOLUME /data
EXPOSE 7860
HEALTHCHECK --interval=30s --timeout=5s --start-period=120s CMD python -c "import os, urllib.request as u; u.urlopen('http://127.0.0.1:' + os.environ['PORT'] + '/api/v1/ready', timeout=4)"
# A Space knows its own name only when it runs. Its proxy, like Docker's, has a private address.
CMD exec annotator serve --demo --host 0.0.0.0 --port "$PORT" --spaces "$DATA/spaces" --trusted-proxy 10.0.0.0/8 --trusted-proxy 172.16.0.0/12 --frame-ancestor https://huggingface.co ${SPACE_HOST:+--allow-host "$SPACE_HOST"}
