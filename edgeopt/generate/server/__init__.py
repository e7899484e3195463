"""The server: a language model or a text encoder behind the OpenAI API, with a page to chat.

app.py          paths and status codes            guard.py      who may ask: host, origin, key, size, shutdown
texts.py        requests for text → answers       worker.py     the thread that decodes, and its queue
requests.py     what clients send                 answers.py    what they get
encoder.py      embeddings                        metrics.py    figures for Prometheus
running.py      sockets, signals, graceful end    page.html     the page, which loads nothing from elsewhere
"""
